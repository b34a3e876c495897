"""Uploads of HTTP/2 clients: to a server that speaks HTTP/2 and to one that speaks HTTP/1 alone."""

from __future__ import annotations

import lzma
from collections.abc import Iterator

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire_h2 import H2Client


@pytest.fixture(scope="module")
def lazy(gateways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A gateway that speaks HTTP/2 to its client whatever the server speaks, because it has not asked it yet."""
    file = tmp_path_factory.mktemp("lazy") / "policy.yaml"
    file.write_text(checked(builtin()))
    with Proxy(options=gateways.options(f"av_policy={file}", "connection_strategy=lazy")) as proxy:
        yield proxy


@pytest.fixture
def proxy(lazy: Proxy) -> Iterator[Proxy]:
    """The same; at the end of the test it has not crashed."""
    since = len(lazy.lines)
    yield lazy
    assert lazy.crashes(since) == []


@pytest.mark.parametrize("trailers", [[], [("x-sum", "1")]], ids=["plain", "trailers"])
@pytest.mark.parametrize("size", [3_000, 3_000_000])
@pytest.mark.parametrize("server", ["tls_origin", "h2_origin"])
def test_an_upload_without_a_length_arrives(
    proxy: Proxy,
    request: pytest.FixtureRequest,
    client_ca: str,
    server: str,
    size: int,
    trailers: list[tuple[str, str]],
) -> None:
    """The server gets the whole of it, framed as it can read it, and answers on the same connection again."""
    origin: Origin = request.getfixturevalue(server)
    path = f"/h2-upload/{size}/{len(trailers)}"
    data = samples.clean(path, size)
    url = origin.serve(path, Reply(steps=(b"thanks",)))
    with H2Client(proxy, url, client_ca) as client:
        first = client.post(url, data, trailers)
        client.read_all()
        again = client.get(url)
        client.read_all()
    assert [(t.status, bytes(t.body), t.ended) for t in (first, again)] == [(200, b"thanks", "whole")] * 2
    assert [bytes(e.request.body) == data for e in origin.asked(path)] == [True, False]


INNER = "inner-boundary"


def nested(data: bytes) -> bytes:
    """A form in whose one part several files lie (RFC 2388 section 4.2), the data as the second of them."""
    files = b"".join(
        b'--%b\r\nContent-Disposition: file; filename="%b"\r\n\r\n%b\r\n' % (INNER.encode(), name, content)
        for name, content in ((b"a.txt", b"a"), (b"b.bin", data))
    )
    head = f'Content-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; boundary={INNER}\r\n\r\n'
    return b"--outer\r\n" + head.encode() + files + f"--{INNER}--\r\n\r\n--outer--\r\n".encode()


FORM = [("content-type", "multipart/form-data; boundary=outer")]
REFUSED: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "bare": (samples.EICAR, []),
    "large": (samples.infected("h2 upload", 500_000), []),
    "gzip": (samples.gzipped(), [("content-encoding", "gzip")]),
    "form": (samples.multipart(samples.zipped(), "outer"), FORM),
    "form in a second field": (samples.multipart(samples.gzipped(), "outer"), [("content-type", "text/plain"), *FORM]),
    "nested form": (nested(samples.zipped()), FORM),
    "xz in a nested form": (nested(lzma.compress(samples.EICAR)), FORM),
    "gzip in a nested form": (nested(samples.gzipped()), FORM),
}


@pytest.mark.parametrize("trailers", [[], [("x-sum", "1")]], ids=["plain", "trailers"])
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("server", ["tls_origin", "h2_origin"])
def test_an_infected_upload_is_refused(
    proxy: Proxy,
    request: pytest.FixtureRequest,
    client_ca: str,
    server: str,
    name: str,
    trailers: list[tuple[str, str]],
) -> None:
    """The client gets the 403, and the server not a byte of it, nor a request."""
    origin: Origin = request.getfixturevalue(server)
    path = f"/h2-bad-upload/{name.replace(' ', '-')}/{len(trailers)}"
    url = origin.serve(path, Reply(steps=(b"thanks",)))
    data, fields = REFUSED[name]
    with H2Client(proxy, url, client_ca) as client:
        taken = client.post(url, data, trailers, fields)
        client.read_all()
    assert (taken.status, taken.ended) == (403, "whole")
    assert origin.asked(path) == []
