"""The first promise: clean objects arrive unchanged, infected ones not at all, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.wire import connect, take

Gateway = Callable[[str], Proxy]

INFECTED = {
    "eicar.com": samples.EICAR,
    "eicar.zip": samples.zipped(),
    "eicar.gz": samples.gzipped(),
    "eicar.tar.gz": samples.tarred(),
    "eicar.docx": samples.docx(),
    "zip-in-zip.zip": samples.zipped(depth=2),
}
CLEAN = {
    "one-byte": b"x",
    "small.bin": samples.clean("small", 1000),
    "large.bin": samples.clean("large", 3_000_000),
    "clean.zip": samples.zipped(samples.clean("in zip", 5000)),
    "clean.gz": samples.gzipped(samples.clean("in gzip", 5000)),
}


@pytest.fixture(params=["builtin", pytest.param("clamd", marks=pytest.mark.clamd)])
def proxy(request: pytest.FixtureRequest, gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine, and one with a real clamd on its Unix socket."""
    if request.param == "builtin":
        return gateway(checked(builtin()))
    return gateway(checked(clamav(request.getfixturevalue("real_clamd").unix, max_checked_size="4MiB")))


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_file_arrives_byte_for_byte(proxy: Proxy, origin: Origin, name: str) -> None:
    """A clean download is 200 with the origin's bytes and a record `free`, `accept`."""
    url = origin.serve(f"/clean/{name}", Reply(steps=(CLEAN[name],)))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.body == CLEAN[name]) == (0, 200, True)
    record = proxy.record_of(url)
    assert (record["status"], record["action"], record["size"]) == ("free", "accept", len(CLEAN[name]))


@pytest.mark.parametrize("name", INFECTED)
def test_an_infected_file_is_refused(proxy: Proxy, origin: Origin, name: str) -> None:
    """An infected download is 403 with our page and its header, and no byte of the object."""
    url = origin.serve(f"/infected/{name}", Reply(steps=(INFECTED[name],)))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.headers["x-sluice-status"]) == (0, 403, "found")
    assert samples.EICAR not in got.body
    assert INFECTED[name][:40] not in got.body
    record = proxy.record_of(url)
    assert (record["status"], record["action"], record["reason"]) == ("found", "deny", "virus-found")
    assert record["released"] == 0


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE])
def test_an_infected_file_without_a_length_is_refused(proxy: Proxy, origin: Origin, framing: Framing) -> None:
    """However the body's end is told, an infected one is refused as a whole."""
    url = origin.serve(f"/infected-{framing}", Reply(steps=(samples.EICAR,), framing=framing))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.headers["x-sluice-status"]) == (0, 403, "found")


def test_an_infected_reply_to_a_post_is_refused(proxy: Proxy, origin: Origin) -> None:
    """A POST whose body is clean gets no infected reply."""
    url = origin.serve("/post-reply", Reply(steps=(samples.zipped(),)))
    got = curl(proxy, url, "--data-binary", "a=1")
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")
    assert origin.asked("/post-reply")[-1].request.body == b"a=1"


@pytest.mark.parametrize("status", [404, 500])
def test_an_infected_error_page_is_refused(proxy: Proxy, origin: Origin, status: int) -> None:
    """Bodies of error replies are checked like any other."""
    url = origin.serve(f"/error{status}", Reply(status=status, reason="Bad", steps=(samples.EICAR,)))
    got = curl(proxy, url)
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")


UPLOADS = {
    "raw": samples.EICAR,
    "zip": samples.zipped(),
    "gzip": samples.gzipped(),
    "tar.gz": samples.tarred(),
    "late": samples.infected("upload", 2_000_000),
}


@pytest.mark.parametrize("how", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
@pytest.mark.parametrize("name", UPLOADS)
def test_an_infected_upload_never_reaches_the_origin(
    proxy: Proxy, origin: Origin, tmp_path: Path, name: str, how: tuple[str, ...]
) -> None:
    """The client of an infected upload gets 403 and the origin not even the request."""
    (tmp_path / "file").write_bytes(UPLOADS[name])
    path = f"/upload/{name}/{len(how)}"
    url = origin.serve(path, Reply(steps=(b"thanks",)))
    got = curl(proxy, url, "-T", str(tmp_path / "file"), *how)
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")
    assert origin.asked(path) == []
    record = proxy.record_of(url)
    assert (record["direction"], record["status"], record["action"]) == ("upload", "found", "deny")


def test_an_infected_form_upload_never_reaches_the_origin(proxy: Proxy, origin: Origin) -> None:
    """A file in a multipart form is found too."""
    url = origin.serve("/form", Reply(steps=(b"thanks",)))
    form = samples.multipart(samples.EICAR)
    kind = "Content-Type: multipart/form-data; boundary=boundary7x"
    got = curl(proxy, url, "-H", kind, "--data-binary", form.decode("latin-1"))
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")
    assert origin.asked("/form") == []


def test_a_saved_page_is_no_form(proxy: Proxy, origin: Origin) -> None:
    """A clean download of several parts arrives as it is, whatever their codings; an infected one does not."""
    part = (
        b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    for name, text in (("clean", b"a=3Db\n"), ("infected", samples.EICAR)):
        page = part + text + b"\r\n--b--"
        reply = Reply(steps=(page,), headers=(("Content-Type", 'multipart/related; boundary="b"; type="text/html"'),))
        got = curl(proxy, origin.serve(f"/page/{name}", reply))
        assert (got.status, got.body == page) == ((200, True) if name == "clean" else (403, False))


@pytest.mark.parametrize("how", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
def test_a_clean_upload_arrives_byte_for_byte(
    proxy: Proxy, origin: Origin, tmp_path: Path, size: int, how: tuple[str, ...]
) -> None:
    """The origin gets the uploaded bytes and the client the origin's reply."""
    data = samples.clean(f"upload {size} {how}", size)
    (tmp_path / "file").write_bytes(data)
    path = f"/clean-upload/{size}/{len(how)}/{proxy.port}"
    url = origin.serve(path, Reply(status=201, reason="Created", steps=(b"thanks",)))
    got = curl(proxy, url, "-T", str(tmp_path / "file"), *how)
    assert (got.exit, got.status, got.body) == (0, 201, b"thanks")
    (exchange,) = origin.asked(path)
    assert exchange.request.complete
    assert bytes(exchange.request.body) == data


def test_an_empty_upload_arrives(proxy: Proxy, origin: Origin) -> None:
    """A body without a byte is passed on, with a length and chunked."""
    path = f"/empty-upload/{proxy.port}"
    url = origin.serve(path, Reply(steps=(b"thanks",)))
    head = f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
    with connect(proxy) as sock:
        for rest in ("Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            taken = take(sock, (head + rest).encode())
            assert (taken.status, bytes(taken.body)) == (200, b"thanks")
    assert [(e.request.complete, bytes(e.request.body)) for e in origin.asked(path)] == [(True, b"")] * 2


PAGES = [
    ("text/html", "text/html"),
    ("application/json", "application/json"),
    ("text/plain", "text/plain"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
]


@pytest.mark.parametrize(("accept", "kind"), PAGES)
def test_the_block_page_speaks_the_clients_language(gateway: Gateway, origin: Origin, accept: str, kind: str) -> None:
    """The page is HTML, JSON or plain text by Accept and names the rule, the status and the record's id."""
    proxy = gateway(checked(builtin()))
    url = origin.serve(f"/page/{len(accept)}", Reply(steps=(samples.EICAR,)))
    got = curl(proxy, url, "-H", f"Accept: {accept}")
    assert got.status == 403
    assert got.headers["content-type"].split(";")[0] == kind
    assert int(got.headers["content-length"]) == len(got.body)
    record = proxy.record_of(url)
    assert record["id"] in got.text
    assert "CHECKED" in got.text
    assert "found" in got.text


def test_a_json_block_page_is_json(gateway: Gateway, origin: Origin) -> None:
    """A program can read the status, the virus and the id out of the page."""
    proxy = gateway(checked(builtin()))
    url = origin.serve("/page-json", Reply(steps=(samples.EICAR,)))
    page = json.loads(curl(proxy, url, "-H", "Accept: application/json").body)
    record = proxy.record_of(url)
    assert page["status"] == "found"
    assert page["id"] == record["id"]
    assert record["virus"] in json.dumps(page)


def test_nothing_of_the_origins_headers_is_in_a_block_page(gateway: Gateway, origin: Origin) -> None:
    """Cookies, validators and cache lifetimes of the blocked object do not reach the client."""
    proxy = gateway(checked(builtin()))
    theirs = [("Set-Cookie", "a=b"), ("ETag", '"x"'), ("Cache-Control", "max-age=9999"), ("X-Theirs", "1")]
    url = origin.serve("/page-headers", Reply(steps=(samples.EICAR,), headers=theirs))
    got = curl(proxy, url)
    assert got.status == 403
    assert not {"set-cookie", "etag", "x-theirs"} & set(got.headers)
    assert "max-age=9999" not in got.headers.get("cache-control", "")


def test_an_engine_that_is_down_is_a_503(gateway: Gateway, origin: Origin) -> None:
    """Without an answer nothing passes: 503 with Retry-After, status `error`, reason `antivirus-error`."""
    proxy = gateway(checked(clamav("/nonexistent/clamd.sock", timeout="1s")))
    url = origin.serve("/engine-down", Reply(steps=(samples.clean("down", 500),)))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.headers["x-sluice-status"]) == (0, 503, "error")
    assert int(got.headers["retry-after"]) > 0
    record = proxy.record_of(url)
    assert (record["status"], record["action"], record["reason"]) == ("error", "deny", "antivirus-error")
