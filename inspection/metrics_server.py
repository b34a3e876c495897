"""Who serves the metrics: a few fixed pages over HTTP/1, on `metrics.listen`.

Rules of this file: a request is small and answered once, then the connection ends; connections, bytes and seconds are
bounded; it never holds traffic up; nothing here changes anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import re
import socket
import stat
from collections.abc import Callable
from http import HTTPStatus

from inspection.metrics import METRICS, Metrics
from policy.address import Address

logger = logging.getLogger(__name__)

WORKER = "AVSLUICE_WORKER"
"""The number of this process among its siblings, from 0; it is added to the port."""

MOST_CONNECTIONS = 32
_HEAD = 8192  # bytes of a request
_WITHIN = 10.0  # seconds for a request and its answer
_OURS = re.compile(r"((localhost|127\.0\.0\.1|\[::1\])(:\d+)?)?")
_PLAIN = "text/plain; charset=utf-8"

type Page = Callable[[dict[str, str]], tuple[int, str, bytes]]


class MetricsError(OSError):
    """`metrics.listen` cannot be listened on; the text is for the administrator."""


class MetricsServer:
    """One listener a process, on behalf of its holders, the policies in force. `bound`: where, None: nowhere."""

    def __init__(self, metrics: Metrics) -> None:
        self.bound: tuple[str, int] | None = None
        self.pages: dict[str, Page] = {
            "/metrics": lambda head: (200, *metrics.expose(head.get("accept", ""))),
            "/healthz": lambda head: (200, _PLAIN, b"ok\n"),
            "/readyz": lambda head: _tell_ready(metrics.find_unready()),
            "/transfers": lambda head: _tell_transfers(head, metrics),
        }
        self._holders: dict[int, Address] = {}
        self._address: Address | None = None
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def hold(self, holder: object, address: Address | None) -> None:
        """Serve at that address for as long as somebody holds it; None: this one no longer asks for any.

        Raises MetricsError and changes nothing then. A new address replaces the old."""
        if address is None:
            self.release(holder)
            return
        if self._server is None or address != self._address:
            sock = _bind(address)
            server = await asyncio.start_server(self._serve, sock=sock, limit=_HEAD)
            self._stop()
            self._server, self._address, self.bound = server, address, _name(sock)
            host, port = self.bound
            logger.info("metrics on %s", f"http://{host}:{port}/metrics" if port else host)
        self._holders[id(holder)] = address

    def release(self, holder: object) -> None:
        """This one no longer needs it; after the last nobody is served."""
        self._holders.pop(id(holder), None)
        if not self._holders:
            self._stop()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            if self.bound is not None and not self.bound[1]:
                with contextlib.suppress(OSError):
                    os.unlink(self.bound[0])
        self._server = self._address = self.bound = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            async with asyncio.timeout(_WITHIN):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request, is_local=_is_local(writer)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # it gets no answer, for it asked nothing that we would answer
        finally:
            self._connections -= 1
            writer.close()

    def _answer(self, request: bytes, *, is_local: bool) -> bytes:
        first, *lines = request.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        head = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method not in ("GET", "HEAD"):
            return _spell(405, _PLAIN, b"GET only\n", method)
        path = rest.partition(" ")[0].partition("?")[0]
        if path == "/transfers" and not is_local:
            return _spell(403, _PLAIN, b"who fetches what is told to this machine only\n", method)
        page = self.pages.get(path)
        if page is None:
            return _spell(404, _PLAIN, b"there are: " + " ".join(self.pages).encode() + b"\n", method)
        try:
            return _spell(*page(head), method)
        except Exception:
            logger.exception("metrics: a page failed")
            return _spell(500, _PLAIN, b"failed; the log has more\n", method)


def _spell(status: int, content_type: str, body: bytes, method: str) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if method == "HEAD" else body)


def _tell_ready(unready: list[str]) -> tuple[int, str, bytes]:
    if unready:
        return 503, _PLAIN, "".join(f"{why}\n" for why in unready).encode()
    return 200, _PLAIN, b"ready\n"


def _tell_transfers(head: dict[str, str], metrics: Metrics) -> tuple[int, str, bytes]:
    # A page of somebody's, whose name was made to resolve to us, is kept out by its name.
    if not _OURS.fullmatch(head.get("host", "")):
        return 403, _PLAIN, b"ask for it by a number or as localhost\n"
    return 200, "application/json", json.dumps(metrics.tell_transfers()).encode() + b"\n"


def _is_local(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("peername")
    return not isinstance(peer, tuple) or ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


def _bind(address: Address) -> socket.socket:
    number = int(os.environ.get(WORKER) or 0)
    try:
        if address.unix is not None:
            return _bind_unix(f"{address.unix}.{number}" if number else address.unix)
        port = address.port + number if address.port else 0
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, port), family=family)
    except (OSError, OverflowError) as why:
        text = getattr(why, "strerror", None) or why
        raise MetricsError(f"metrics.listen {address}: cannot be listened on: {text}") from why


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(path) != 0:
                    os.unlink(path)  # left by a crash: nobody listens
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, 0o660)
    except OSError:
        sock.close()
        raise
    return sock


def _name(sock: socket.socket) -> tuple[str, int]:
    name = sock.getsockname()
    return (name, 0) if isinstance(name, str) else (name[0], name[1])


SERVER = MetricsServer(METRICS)
"""Of this process."""
