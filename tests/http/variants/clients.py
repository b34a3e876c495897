"""The clients that the variants are shown to: a socket that keeps every byte, curl, python-requests, httpx.

Rules of this file: a client gives what its user would have; what it raises is an end like another.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h11
import httpx
import requests

from tests.http.curl import environment
from tests.http.proxy import Proxy
from tests.http.variants.variant import Ask

PATIENCE = 1.5  # seconds; what takes longer is a hang


@dataclass(frozen=True, slots=True)
class Got:
    """`whole` where the client took it for a complete message; `wire` is everything that came, where it is known."""

    status: int = 0
    body: bytes = b""
    whole: bool = False
    wire: bytes = b""
    seconds: float = 0.0


def ask_by_socket(proxy: Proxy, url: str, ask: Ask) -> Got:
    """Every byte until the proxy closes, read by h11 as a strict client would."""
    host = url.split("/")[2]
    fields = "".join(f"{line}\r\n" for line in ("Connection: close", *ask.fields))
    request = f"{ask.method} {url} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode("latin-1") + ask.body
    began, wire = time.monotonic(), bytearray()
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as sock, contextlib.suppress(OSError):
        sock.sendall(request)
        while data := sock.recv(1 << 16):
            wire += data
    taken = time.monotonic() - began
    status, body, whole = _read_strictly(bytes(wire), ask.method)
    return Got(status, body, whole, bytes(wire), taken)


def _read_strictly(wire: bytes, method: str) -> tuple[int, bytes, bool]:
    client, status, body = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20), 0, b""
    client.send(h11.Request(method=method, target="/", headers=[("Host", "any"), ("Connection", "close")]))
    client.send(h11.EndOfMessage())
    try:
        client.receive_data(wire)
        client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if isinstance(event, h11.Response):
                status, fields = event.status_code, event.headers
            elif isinstance(event, h11.Data):
                body += event.data
        whole = isinstance(event, h11.EndOfMessage)
    except h11.ProtocolError:
        return status, body, False
    return status, _decode(body, [value for name, value in fields if name == b"content-encoding"]), whole


def _decode(body: bytes, values: Iterable[bytes]) -> bytes:
    """Undo the codings by httpx's decoders, each its own; what has none stays as it is."""
    tokens = [token.strip().lower() for value in values for token in value.decode("ascii", "replace").split(",")]
    for token in reversed([token for token in tokens if token not in ("", "identity")]):
        with contextlib.suppress(httpx.DecodingError, UnicodeError):
            fields = {"Content-Encoding": token.removeprefix("x-")}
            body = httpx.Response(200, headers=fields, content=body).content
    return body


class Libraries:
    """python-requests and httpx, each with one session a thread."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._own = threading.local()
        self._opened: list[requests.Session | httpx.Client] = []

    def close(self) -> None:
        """Close every thread's sessions."""
        for session in self._opened:
            session.close()

    def by_requests(self, url: str) -> Got:
        """As most scripts do it."""
        if not hasattr(self._own, "requests"):
            self._own.requests = requests.Session()
            self._opened.append(self._own.requests)
            self._own.requests.trust_env = False
            self._own.requests.proxies = {"http": self._proxy.address}
        body, status = b"", 0
        try:
            with self._own.requests.get(url, timeout=PATIENCE, stream=True, allow_redirects=False) as response:
                status = response.status_code
                for piece in response.iter_content(None):
                    body += piece
        except (requests.RequestException, ValueError):
            return Got(status, body)
        return Got(status, body, whole=True)

    def by_httpx(self, url: str) -> Got:
        """The same by httpx."""
        if not hasattr(self._own, "httpx"):
            self._own.httpx = httpx.Client(proxy=self._proxy.address, trust_env=False, timeout=PATIENCE)
            self._opened.append(self._own.httpx)
        return _stream(self._own.httpx, url)


def _stream(client: httpx.Client, url: str) -> Got:
    body, status = b"", 0
    try:
        with client.stream("GET", url) as response:
            status = response.status_code
            for piece in response.iter_bytes():
                body += piece
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return Got(status, body)
    return Got(status, body, whole=True)


def by_http2(proxy: Proxy, ca: str, urls: Iterable[str]) -> list[Got]:
    """All of them over one connection of HTTP/2 through the proxy."""
    context = ssl.create_default_context(cafile=ca)
    with httpx.Client(
        proxy=proxy.address, trust_env=False, timeout=PATIENCE, http1=False, http2=True, verify=context
    ) as client:
        return [_stream(client, url) for url in urls]


def by_curl(proxy: Proxy, urls: list[str], *options: str) -> list[Got]:
    """All of them by one curl, over kept connections."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f'url = "{url}"\noutput = "{folder}/{number}"' for number, url in enumerate(urls)]
        Path(folder, "config").write_text("\n".join(lines))
        command = ["curl", "-s", "--noproxy", "", "--proxy", proxy.address, "--max-time", str(PATIENCE)]
        command += ["-w", "%{urlnum} %{exitcode} %{http_code}\n", *options, "-K", f"{folder}/config"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        rows = {int(n): (int(code), int(status)) for n, code, status in map(str.split, done.stdout.splitlines())}
        assert len(rows) == len(urls), done.stderr
        files = [Path(folder, str(number)) for number in range(len(urls))]
        bodies = [file.read_bytes() if file.exists() else b"" for file in files]
    return [Got(rows[n][1], body, whole=rows[n][0] == 0) for n, body in enumerate(bodies)]


def read_request(came: bytes) -> bytes | None:
    """The decoded body of a request as a strict server reads it; None where it is none, or more than one."""
    server, body, fields = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), b"", []
    try:
        server.receive_data(came)
        server.receive_data(b"")
        while not isinstance(event := server.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if isinstance(event, h11.Request):
                fields = list(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
    except h11.ProtocolError:
        return None
    if not isinstance(event, h11.EndOfMessage) or server.trailing_data[0]:
        return None
    return _decode(body, [value for name, value in fields if name == b"content-encoding"])
