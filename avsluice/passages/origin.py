"""A web server on loopback, for as long as the command runs: gives what it was told to, and keeps what it is given.

Rules of this file: names are random, so that no cache and no memory of a gateway knows them; what nobody announced is
404; one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Self

_MOST = 1 << 20


class Origin:
    """`url(content)` makes a page; `taken(url)` is what was uploaded there. An async context manager."""

    def __init__(self) -> None:
        self._pages: dict[str, bytes] = {}
        self._taken: dict[str, bytes] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def url(self, content: bytes = b"") -> str:
        """A new URL, good for a download of the content and for an upload."""
        path = f"/avsluice-doctor/{secrets.token_hex(8)}.bin"
        self._pages[path] = content
        return f"http://127.0.0.1:{self.port}{path}"

    def taken(self, url: str) -> bytes | None:
        """What came up there; None where nothing did."""
        return self._taken.get("/" + url.split("/", 3)[3])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, EOFError, ValueError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split("\r\n", 1)[0].split(" ")
            if path in self._pages and method == "POST":
                self._taken[path] = await reader.readexactly(_read_length(head))
            writer.write(self._answer(method, path))
            await writer.drain()
        writer.close()

    def _answer(self, method: str, path: str) -> bytes:
        page = self._pages.get(path) if method in ("GET", "POST") else None
        status, body = ("404 Not Found", b"") if page is None else ("200 OK", page if method == "GET" else b"")
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"Cache-Control: no-store\r\nConnection: close\r\n\r\n" + body


def _read_length(head: str) -> int:
    """ValueError where there is none, or too much."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and int(value) <= _MOST:
            return int(value)
    raise ValueError("no length")
