"""Raw HTTP/1 clients that note when every byte came, over plain TCP or through CONNECT and TLS.

Rules of this file: a client reads at full speed, judges framing by h11 and tells in one word how it ended.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11

from tests.http.proxy import Proxy


@dataclass(slots=True)
class Taken:
    """What came over the wire: `arrivals` holds (time.monotonic(), body bytes so far)."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    head_at: float = 0.0
    ended: str = ""  # whole, cut (by framing or missing close_notify), reset

    def add(self, data: bytes) -> None:
        """Note a piece of body that has just come."""
        self.body += data
        self.arrivals.append((time.monotonic(), len(self.body)))

    def early(self, until: float) -> int:
        """Body bytes that had come at a moment of time.monotonic()."""
        return max((size for at, size in self.arrivals if at <= until), default=0)


def connect(proxy: Proxy, timeout: float = 20) -> socket.socket:
    """A TCP connection to the proxy; every wait on it is bounded by `timeout` seconds."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def connect_tls(proxy: Proxy, url: str, ca: str, alpn: Iterable[str] = ("http/1.1",)) -> ssl.SSLSocket:
    """A tunnel to the URL's origin by CONNECT, with TLS inside, the certificate verified by the CA file."""
    plain = connect(proxy)
    place = urlsplit(url).netloc
    plain.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += plain.recv(1) or b"\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200"), answer
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(list(alpn))
    # A ragged end must not look like a proper one: it is how a cut shows under TLS.
    return context.wrap_socket(plain, server_hostname=urlsplit(url).hostname, suppress_ragged_eofs=False)


def ask(url: str, *, absolute: bool, version: str = "HTTP/1.1", headers: Iterable[str] = ()) -> bytes:
    """The bytes of a GET; `absolute` writes the whole URL into the request line, as to a proxy."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {url if absolute else path} {version}", f"Host: {parts.netloc}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def take(sock: socket.socket, request: bytes) -> Taken:
    """Send one request (its bytes verbatim) and read the reply to its end; the socket stays open."""
    sock.sendall(request)
    return read_reply(sock, request.split(b" ", 1)[0].decode())


def read_reply(sock: socket.socket, method: str = "GET") -> Taken:
    """Read one reply to a request of that method, to its end."""
    client, taken = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20), Taken()
    client.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
    client.send(h11.EndOfMessage())
    while not taken.ended:
        try:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(sock.recv(65536))
            else:
                _note(event, taken)
        except ConnectionError:
            taken.ended = "reset"
        except (h11.RemoteProtocolError, ssl.SSLEOFError):
            taken.ended = "cut"
    return taken


def _note(event: object, taken: Taken) -> None:
    match event:
        case h11.Response():
            taken.status, taken.head_at = event.status_code, time.monotonic()
            taken.headers = {n.decode(): v.decode("latin-1") for n, v in event.headers}
        case h11.Data():
            taken.add(bytes(event.data))
        case h11.EndOfMessage():
            taken.ended = "whole"
        case h11.ConnectionClosed():
            taken.ended = "cut"
