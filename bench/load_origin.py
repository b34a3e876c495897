"""An origin that costs next to nothing, for measuring what stands before it.

Rules of this file: the URL says what is served, `/SIZE` or `/SIZE/SECONDS` or `/eicar`; no two bodies are alike;
connections are kept; nothing is checked, it is there for clients of our own.
"""

from __future__ import annotations

import asyncio
import itertools

from scanners.specimens import EICAR

PIECE = 1 << 20
STEPS = 100  # in which a paced body comes

# Text is what clamd has the least work with (100 MB: 0.16 s; zeros 0.6, random bytes 0.9): the gateways are measured.
_BLOCK = (b"The quick brown fox jumps over the lazy dog.\n" * (PIECE // 45 + 1))[:PIECE]
_numbers = itertools.count(1)


class Origin(asyncio.Protocol):
    """One connection of the origin: GETs, one after the other."""

    def __init__(self) -> None:
        self._head = b""
        self._writable = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's part."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writable.set()

    def pause_writing(self) -> None:
        """asyncio's part."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio's part."""
        self._writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio's part."""
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            path = self._head.split(b" ", 2)[1].decode()
            self._head = b""
            self._answer(path.rpartition(":")[2].partition("/")[2] if "://" in path else path[1:])

    def _answer(self, path: str) -> None:
        if path == "eicar":
            self._transport.write(_headers(len(EICAR)) + EICAR)
            return
        size, _, seconds = path.partition("/")
        number = _mark(next(_numbers))
        if int(size) <= PIECE and not seconds:
            self._transport.write(_headers(int(size)) + number + _BLOCK[16 : int(size)])
        else:
            self._task = asyncio.get_running_loop().create_task(self._send(int(size), number, float(seconds or 0)))

    async def _send(self, size: int, number: bytes, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began, step = loop.time(), (size // STEPS if seconds else PIECE)
        self._transport.write(_headers(size) + number)
        sent = 16
        while sent < size:
            if seconds:
                await asyncio.sleep(began + seconds * sent / size - loop.time())
            await self._writable.wait()
            piece = memoryview(_BLOCK)[: min(step, size - sent)]
            self._transport.write(piece)
            sent += len(piece)


def make_body(size: int, number: int) -> bytes:
    """What is served, in one piece, for a number of your own."""
    return _mark(number) + (_BLOCK * (size // PIECE + 1))[: size - 16]


def _mark(number: int) -> bytes:
    """16 bytes that no other body begins with."""
    return b"%015d\n" % (number % 10**15)


def _headers(size: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode()


async def serve() -> asyncio.Server:
    """An origin on a free port of loopback; the caller closes it."""
    return await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0, backlog=1024)
