"""Clients that cost next to nothing: many connections with a request each under way, for so many seconds.

Rules of this file: a connection is kept as long as the peer keeps it; what is not 200 and whole is an error and is
counted; times are the loop's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """What clients saw: the seconds of each good request, and how many others there were."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0


@dataclass(slots=True)
class Arrival:
    """One body: its status (0: none), its size, and when its bytes came, in seconds since the request."""

    status: int = 0
    size: int = 0
    first: float = 0.0
    silence: float = 0.0  # the longest, the wait for the first byte included
    total: float = 0.0
    head: bytes = b""  # of the body
    whole: bool = False


class _Client(asyncio.Protocol):
    """One connection. `done` is called with each arrival, and says whether to ask again."""

    def __init__(self, request: bytes, done: Callable[[Arrival], bool]) -> None:
        self._request, self._done = request, done
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.over = self._loop.create_future()
        self._answered = 0  # requests on this connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's part."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if hasattr(transport, "max_size"):
            transport.max_size = 1 << 20
        self._ask()

    def _ask(self) -> None:
        self._arrival, self._head, self._left, self._closes = Arrival(), b"", -1, False
        self._began = self._heard = self._loop.time()
        assert self._transport is not None
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Headers, then the body."""
        if self._left < 0:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._arrival.status = int(head[9:12])
            found = _LENGTH.search(head + b"\r\n")
            self._left = int(found[1]) if found else 1 << 62
            self._closes = _CLOSES.search(head + b"\r\n") is not None
        if data:
            self._take(data)
        if not self._left:
            self._finish()

    def _take(self, data: bytes) -> None:
        arrival, now = self._arrival, self._loop.time()
        if not arrival.size:
            arrival.first = now - self._began
            arrival.head = data[:200]
        arrival.silence = max(arrival.silence, now - self._heard)
        self._heard = now
        arrival.size += len(data)
        self._left -= len(data)

    def _finish(self) -> None:
        self._arrival.total = self._loop.time() - self._began
        self._arrival.whole = self._left == 0
        self._answered += 1
        assert self._transport is not None
        if self._done(self._arrival) and not self._closes and not self._transport.is_closing():
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The peer may have closed in the midst of an answer; before it, a kept connection may be closed."""
        if self._left != 0 and not (self._answered and not self._head):
            self._finish()
        if not self.over.done():
            self.over.set_result(None)


async def press(port: int, url: str, size: int, *, clients: int, seconds: float) -> Tally:
    """As many requests for a body of `size` bytes as so many clients get answered in so many seconds."""
    tally = Tally()
    end = asyncio.get_running_loop().time() + seconds

    def done(arrival: Arrival) -> bool:
        good = arrival.status == 200 and arrival.size == size
        if good:
            tally.seconds.append(arrival.total)
        else:
            tally.errors += 1
        return good and asyncio.get_running_loop().time() < end

    async def visit() -> None:
        while asyncio.get_running_loop().time() < end:
            await _visit(port, url, done, end - asyncio.get_running_loop().time() + 3)

    await asyncio.gather(*(visit() for _ in range(clients)))
    return tally


async def fetch(port: int, url: str, limit: float = 30) -> Arrival:
    """One request on a connection of its own; what came of it in `limit` seconds."""
    arrivals: list[Arrival] = []

    def done(arrival: Arrival) -> bool:
        arrivals.append(arrival)
        return False

    await _visit(port, url, done, limit, "Connection: close\r\n")
    return arrivals[0]


async def _visit(port: int, url: str, done: Callable[[Arrival], bool], limit: float, more: str = "") -> None:
    """One connection until it is closed, by whomever; cut after `limit` seconds."""
    request = f"GET {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n{more}\r\n".encode()
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: _Client(request, done), "127.0.0.1", port)
    try:
        async with asyncio.timeout(limit):
            await client.over
    except TimeoutError:
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
