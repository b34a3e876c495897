"""Clients that come by SOCKS: what they fetch is checked, and what is no HTTP does not pass."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.conftest import Gateways
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire import ask, connect, take

DNS = ("127.0.0.53", 5353)  # mitmproxy takes the port for DNS; any address of this machine will do


@pytest.fixture(scope="module")
def socks(gateways: Gateways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A gateway that speaks SOCKS 5."""
    file = tmp_path_factory.mktemp("socks") / "policy.yaml"
    file.write_text(checked(builtin()))
    with Proxy(options=gateways.options(f"av_policy={file}", "mode=socks5")) as proxy:
        yield proxy
        assert proxy.crashes() == []


def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A connection to there by SOCKS 5 (RFC 1928), without a login."""
    sock = connect(proxy, 5)
    sock.sendall(b"\5\1\0\5\1\0\1" + socket.inet_aton(host) + port.to_bytes(2))
    reply = b""
    while len(reply) < 12 and (data := sock.recv(12 - len(reply))):
        reply += data
    assert reply[:4] == b"\5\0\5\0", reply
    return sock


def test_what_comes_by_socks_is_checked(socks: Proxy, origin: Origin) -> None:
    """Clean arrives, EICAR is a 403."""
    for name, data, status in (("good", b"clean", 200), ("bad", samples.EICAR, 403)):
        url = origin.serve(f"/socks/{name}", Reply(steps=(data,)))
        with tunnel(socks, "127.0.0.1", origin.port) as sock:
            taken = take(sock, ask(url, absolute=False))
        assert (taken.status, bytes(taken.body) == data) == (status, status == 200)


@pytest.fixture
def name_server() -> Iterator[list[bytes]]:
    """What came to something that answers EICAR in a frame of DNS over TCP (RFC 1035 section 4.2.2)."""
    came: list[bytes] = []
    answer = b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0\1a\0\0\x10\0\1\1a\0\0\x10\0\1\0\0\0\0\0\x45\x44" + samples.EICAR
    with socket.create_server(DNS) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.settimeout(3)
                    while data := _receive(peer):
                        came.append(data)
                        peer.sendall(len(answer).to_bytes(2) + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield came
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65536)
    except OSError:
        return b""


def test_no_dns_is_relayed(socks: Proxy, name_server: list[bytes]) -> None:
    """A question to a port of DNS does not reach it, nor comes what it would answer."""
    question = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\x10\0\1"
    got = b""
    with tunnel(socks, *DNS) as sock:
        sock.sendall(len(question).to_bytes(2) + question + b"\r\n\r\n")
        while data := _receive(sock):
            got += data
    assert samples.EICAR not in got
    assert name_server == []
