"""Uploads of HTTP/2 clients: to a server that speaks HTTP/2 and to one that speaks HTTP/1 alone."""

from __future__ import annotations

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
