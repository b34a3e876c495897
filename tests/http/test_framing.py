"""Odd messages: what is not plain HTTP does not get past the gateway, and what has no body needs no check."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire import ask, connect, connect_tls, take

Gateway = Callable[[str], Proxy]

EICAR = samples.EICAR
LENGTH = b"Content-Length: 68\r\n"


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine."""
    return gateway(checked(builtin()))


def everything(sock: socket.socket, request: bytes) -> bytes:
    """All bytes that come until the gateway closes or 2 s pass."""
    sock.settimeout(2)
    sock.sendall(request)
    got = b""
    try:
        while data := sock.recv(65536):
            got += data
    except (TimeoutError, ConnectionError, ssl.SSLEOFError):
        pass
    return got


HEADS = {
    "101 without an upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "101 with another upgrade": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "101 websocket unasked": b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "bare CR in a header": b"HTTP/1.1 200 OK\r\nX: a\rContent-Encoding: gzip\r\n" + LENGTH + b"\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n" + LENGTH + b"\r\n",
    "VT in a header": b"HTTP/1.1 200 OK\r\nX\x0b: a\r\n" + LENGTH + b"\r\n",
    "fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b: c\r\n" + LENGTH + b"\r\n",
    "leading space": b"HTTP/1.1 200 OK\r\n X: a\r\n" + LENGTH + b"\r\n",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\n" + LENGTH + b"\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\n" + LENGTH + b"\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 68\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n" + LENGTH + b"\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + LENGTH + b"\r\n",
    "odd length": b"HTTP/1.1 200 OK\r\nContent-Length: +68\r\n\r\n",
    "odd transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n" + LENGTH + b"\r\n",
    "HTTP/0.9": b"",
}


@pytest.mark.parametrize("name", HEADS)
def test_an_odd_reply_brings_no_byte_of_its_body(proxy: Proxy, origin: Origin, name: str) -> None:
    """EICAR behind a head that clients read differently does not arrive, nor does the head."""
    path = "/odd-head/" + name.replace(" ", "-").replace("/", "-")
    url = origin.serve(path, Reply(head=HEADS[name], steps=(EICAR,), framing=Framing.CLOSE))
    with connect(proxy) as sock:
        got = everything(sock, ask(url, absolute=True, headers=["Connection: close"]))
    assert EICAR not in got
    assert b"\rContent-Encoding" not in got
    assert b"\x00" not in got
    assert got == b"" or got.split(b" ")[1] in (b"502", b"403")


@pytest.mark.parametrize("name", [n for n in HEADS if not n.startswith(("101", "HTTP/0.9"))])
def test_an_odd_reply_is_a_502(proxy: Proxy, origin: Origin, name: str) -> None:
    """The client of an unreadable reply gets a proper error."""
    path = "/odd-502/" + name.replace(" ", "-")
    url = origin.serve(path, Reply(head=HEADS[name], steps=(EICAR,), framing=Framing.CLOSE))
    assert curl(proxy, url).status in (502, 403)


def test_raw_bytes_behind_a_101_do_not_pass(proxy: Proxy, origin: Origin) -> None:
    """With an Upgrade that is no WebSocket in the request, too, nothing is relayed unread."""
    head = b"HTTP/1.1 101 S\r\nUpgrade: tunnel\r\nConnection: Upgrade\r\n\r\n"
    url = origin.serve("/tunnel", Reply(head=head, steps=(EICAR,), framing=Framing.CLOSE))
    headers = ["Connection: Upgrade", "Upgrade: tunnel"]
    with connect(proxy) as sock:
        assert EICAR not in everything(sock, ask(url, absolute=True, headers=headers))


REQUESTS = {
    "two lengths": "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunked": "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {url}/second HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "signed length": "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: +5\r\n\r\nhello",
    "fold": "POST {url} HTTP/1.1\r\nHost: {host}\r\nX: a\r\n Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "bare CR": "POST {url} HTTP/1.1\r\nHost: {host}\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
    "NUL": "POST {url} HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_odd_request_is_a_400(proxy: Proxy, origin: Origin, name: str) -> None:
    """A request that servers read differently is refused and the origin sees neither it nor a second one."""
    path = "/odd-request/" + name.replace(" ", "-")
    url = origin.serve(path, Reply(steps=(b"served",)))
    origin.serve(path + "/second", Reply(steps=(b"served",)))
    request = REQUESTS[name].format(url=url, host=f"127.0.0.1:{origin.port}").encode()
    with connect(proxy) as sock:
        got = everything(sock, request)
    assert got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert b"served" not in got
    assert origin.asked(path) + origin.asked(path + "/second") == []


def test_replies_without_a_body_pass(proxy: Proxy, origin: Origin) -> None:
    """HEAD, 204 and 304 arrive with their headers, and the connection goes on."""
    large = Reply(steps=(samples.clean("head", 9999),), headers=[("ETag", '"e"')])
    whole = origin.serve("/none/whole", large)
    empty = origin.serve("/none/204", Reply(status=204, reason="No Content", framing=Framing.NONE))
    same = origin.serve("/none/304", Reply(status=304, reason="Not Modified", framing=Framing.NONE))
    with connect(proxy) as sock:
        head = take(sock, ask(whole, absolute=True).replace(b"GET", b"HEAD", 1))
        got = [head, *(take(sock, ask(url, absolute=True)) for url in (empty, same, whole))]
    assert [(t.status, t.ended) for t in got] == [(s, "whole") for s in (200, 204, 304, 200)]
    assert (head.headers["content-length"], head.headers["etag"]) == ("9999", '"e"')


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_on_a_reply_that_has_none_does_not_pass(proxy: Proxy, origin: Origin, status: int) -> None:
    """Bytes behind a 204 or 304 do not reach the client, as a body or as the next reply."""
    url = origin.serve(f"/sneaky/{status}", Reply(status=status, steps=(EICAR,)))
    with connect(proxy) as sock:
        assert EICAR not in everything(sock, ask(url, absolute=True))


def test_an_empty_body_is_no_object_of_doubt(proxy: Proxy, origin: Origin) -> None:
    """A 200 without a byte passes in every framing."""
    for framing in (Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE):
        got = curl(proxy, origin.serve(f"/empty-{framing}", Reply(framing=framing)))
        assert (got.exit, got.status, got.body) == (0, 200, b"")


def test_expect_100_continue_is_answered_and_checked(proxy: Proxy, origin: Origin, tmp_path) -> None:
    """A client that waits for 100 gets it; the clean upload arrives whole and the infected one not at all."""
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "10", "--max-time", "8")
    for name, data, status in (
        ("clean", samples.clean("expect", 5000), 200),
        ("bad", samples.infected("expect", 5000), 403),
    ):
        (tmp_path / name).write_bytes(data)
        url = origin.serve(f"/expect/{name}", Reply(steps=(b"thanks",)))
        got = curl(proxy, url, "-T", str(tmp_path / name), *expect)
        assert (got.exit, got.status) == (0, status)
    assert [bytes(e.request.body) for e in origin.asked("/expect/clean")] == [samples.clean("expect", 5000)]
    assert origin.asked("/expect/bad") == []


def test_the_blocked_url_is_escaped_in_the_page(proxy: Proxy, origin: Origin) -> None:
    """Markup and line ends in a URL are text in the page, and the page is one header block."""
    path = "/<script>alert(1)</script>%0d%0aX-Evil:%201"
    url = origin.serve(path, Reply(steps=(EICAR,)))
    for accept in ("text/html", "application/json", "text/plain"):
        got = curl(proxy, url, "--globoff", "-H", f"Accept: {accept}")
        assert got.status == 403
        assert "x-evil" not in got.headers
        assert accept == "text/plain" or b"<script>alert" not in got.body or accept == "application/json"
    proxy.wait_until(lambda: len(proxy.records_of(url)) == 3, "a record of each")


def test_a_path_of_10_kb_in_a_refusal(proxy: Proxy, origin: Origin) -> None:
    """A long URL gives one bounded page and one record on one line."""
    path = "/" + "long" * 2500
    url = origin.serve(path, Reply(steps=(EICAR,)))
    got = curl(proxy, url)
    assert got.status == 403
    assert len(got.body) < 64_000
    assert proxy.wait_until(lambda: [r for r in proxy.records if "longlong" in r["object"]], "a record")


@pytest.mark.parametrize("kind", ["expired", "self-signed", "wrong name"])
def test_an_unverified_origin_is_a_502(proxy: Proxy, fakes, authority, client_ca: str, kind: str) -> None:
    """An origin whose certificate is expired, self-signed or another's delivers no content."""
    signer = trustme.CA() if kind == "self-signed" else authority
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if kind == "expired" else None
    name = "elsewhere.example" if kind == "wrong name" else "localhost"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer.issue_cert(name, not_after=past).configure_cert(context)
    other = Origin(context)
    fakes.run(other.start())
    try:
        got = curl(proxy, other.serve("/secret", Reply(steps=(b"content",))), "--cacert", client_ca)
    finally:
        fakes.run(other.close())
    assert got.status == 502
    assert b"content" not in got.body or b"/secret" in got.body
    assert other.exchanges == []


def test_the_gateways_own_port_is_no_target(proxy: Proxy) -> None:
    """A request for the gateway itself or a link-local address is refused and recorded."""
    for url in (f"http://127.0.0.1:{proxy.port}/", "http://169.254.169.254/latest/meta-data/"):
        got = curl(proxy, url, "--max-time", "5")
        assert got.status in (403, 502)
        assert proxy.record_of(url)["action"] == "deny"


SPELLINGS = ("localhost.", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0x0", "0", "[::]", "[::1]",
             "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::1%25lo]", "%31%32%37.0.0.1",
             "\uff11\uff12\uff17.0.0.1", "user@127.0.0.1", socket.gethostname())  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_leads_to_the_gateway(proxy: Proxy, host: str) -> None:
    """Whatever the client calls the gateway, by GET or through a tunnel, nothing is said to itself."""
    place, since = f"{host}:{proxy.port}", len(proxy.lines)
    for method, target in (("GET", f"http://{place}/loop"), ("CONNECT", place)):
        with connect(proxy) as sock:
            got = everything(sock, f"{method} {target} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
            assert got.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400", b"HTTP/1.1 502", b"HTTP/1.1 200 Connection"))
            if got.startswith(b"HTTP/1.1 200"):  # a name, of which is known where it leads once it was connected to
                assert b"502" in everything(sock, ask(f"http://{place}/loop", absolute=False))
    assert not [line for line in proxy.lines[since:] if "/loop" in line and "<< 200" in line]


@pytest.mark.parametrize("port", [53, 5353])
def test_a_tunnel_to_dns_is_refused(proxy: Proxy, port: int) -> None:
    """There mitmproxy would relay DNS messages, with anything in them."""
    with connect(proxy) as sock:
        sock.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("alpn", ["imap", "foo/1", "http/1.0"])
def test_an_unknown_alpn_carries_nothing_but_http(proxy: Proxy, tls_origin: Origin, client_ca: str, alpn: str) -> None:
    """Whatever protocol the client names for its tunnel, what is no HTTP in it does not pass."""
    url = tls_origin.serve("/alpn", Reply(steps=(EICAR,)))
    before = len(tls_origin.exchanges)
    with connect_tls(proxy, url, client_ca, (alpn,)) as sock:
        assert EICAR not in everything(sock, b"\x00\x01a login {3+}\r\n" + EICAR + b"\r\n\r\n")
    assert tls_origin.exchanges[before:] == []
    with connect_tls(proxy, url, client_ca, (alpn,)) as sock:
        got = everything(sock, ask(url, absolute=False, headers=["Connection: close"]))
    assert EICAR not in got
    assert got.startswith(b"HTTP/1.1 403")


def test_trailers_are_refused_within_a_second(proxy: Proxy, origin: Origin) -> None:
    """Both peers' trailers end in a clear refusal, and not in a wait for a proxy that has crashed."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"
    url = origin.serve("/trailers", Reply(head=head, framing=Framing.CLOSE))
    assert curl(proxy, url, "--max-time", "1").status == 502
    request = f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(proxy, 1) as sock:
        assert take(sock, request.encode() + b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n").status == 400


def test_codings_of_the_way_are_not_asked_for(proxy: Proxy, origin: Origin) -> None:
    """TE is between the client and us: an origin that heeded it would answer with what we refuse."""
    url = origin.serve("/te", Reply(steps=(b"plain",)))
    assert curl(proxy, url, "--header", "TE: trailers, gzip", "--header", "Connection: TE").body == b"plain"
    assert [e.request.header("TE") for e in origin.asked("/te")] == [None]


def test_an_interim_reply_is_not_taken_for_the_last(proxy: Proxy, origin: Origin) -> None:
    """Early hints are taken off, and the page arrives."""
    head = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    got = curl(proxy, origin.serve("/hints", Reply(head=head, framing=Framing.CLOSE)))
    assert (got.exit, got.status, got.body) == (0, 200, b"hello")


def test_pipelined_requests_are_judged_each(proxy: Proxy, origin: Origin) -> None:
    """Two requests in one segment get two answers, the infected one its refusal."""
    good = origin.serve("/pipe/good", Reply(steps=(b"good",)))
    bad = origin.serve("/pipe/bad", Reply(steps=(EICAR,)))
    with connect(proxy) as sock:
        sock.sendall(ask(good, absolute=True) + ask(bad, absolute=True, headers=["Connection: close"]))
        got = everything(sock, b"")
    assert got.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 403" in got
    assert EICAR not in got


def test_raw_bytes_through_connect_do_not_pass(proxy: Proxy, origin: Origin) -> None:
    """A tunnel that carries neither TLS nor HTTP is not relayed unread."""
    with connect(proxy) as sock:
        place = f"127.0.0.1:{origin.port}"
        sock.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        assert sock.recv(65536).split()[1] in (b"200", b"403")
        everything(sock, b"\x00\x01raw bytes of another protocol\r\n\r\n")
    assert not any("raw bytes" in e.request.target for e in origin.exchanges)
