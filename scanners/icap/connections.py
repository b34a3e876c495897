"""The connections to one ICAP server: those in use, and the few that wait to be used again.

Rules of this file: a connection that waits holds one of the server's threads, so few do, and not for long; the server's
Max-Connections counts them all; the one used last is used first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from scanners.connection import Address
from scanners.icap.wire import Connection, open_connection

IDLE_LIMIT = 8
"""Connections that may wait."""

IDLE_SECONDS = 10.0
"""How long one may wait. Servers count in tens of seconds (c-icap: KeepAliveTimeout 600, 40 threads for everybody)."""


class Connections:
    """Takes and gives back connections to `address`. `limit`: so many at a time, None: any number."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._tls = tls
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []
        self._queue: deque[asyncio.Future[None]] = deque()
        self._used = 0
        self._closed = False
        self.limit: int | None = None

    def __repr__(self) -> str:
        state = f"{self._used} used, {len(self._idle)} idle, {len(self._queue)} waiting"
        return f"<Connections to {self._address}: {state}>"

    async def take(self, *, fresh: bool = False) -> Connection:
        """An idle connection, or a new one where there is none or `fresh` is asked for; waits, in order, while `limit`
        is reached. Give it back with `give`. OSError where none is to be had."""
        await self._enter()
        try:
            if not fresh and (connection := self._pop()) is not None:
                return connection
            self._make_room()
            return await open_connection(self._address, self._tls)
        except BaseException:
            self._leave()
            raise

    def give(self, connection: Connection) -> None:
        """Its talk is over: it is kept if it may be used again, else closed."""
        if connection.finish() and not self._closed and len(self._idle) < IDLE_LIMIT:
            timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire, connection)
            self._idle.append((connection, timer))
        else:
            connection.abort()
        self._leave()

    def close(self) -> None:
        """Closes what is idle; what is in use is closed when it is given back."""
        self._closed = True
        while self._pop_any() is not None:
            pass

    def _pop(self) -> Connection | None:
        while (connection := self._pop_idle()) is not None and connection.lost:
            pass
        return connection

    def _pop_idle(self) -> Connection | None:
        if not self._idle:
            return None
        connection, timer = self._idle.pop()
        timer.cancel()
        return connection

    def _pop_any(self) -> Connection | None:
        connection = self._pop_idle()
        if connection is not None:
            connection.abort()
        return connection

    def _make_room(self) -> None:
        """A new connection beside idle ones must not exceed the limit either."""
        while self.limit is not None and self._idle and self._used + len(self._idle) > self.limit:
            self._pop_any()

    def _expire(self, connection: Connection) -> None:
        self._idle = [(kept, timer) for kept, timer in self._idle if kept is not connection]
        connection.abort()

    # -- the queue -------------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        if self._may_enter() and not self._queue:
            self._used += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the turn had come, and is another's now
            raise
        finally:
            if turn in self._queue:
                self._queue.remove(turn)

    def _may_enter(self) -> bool:
        return self.limit is None or self._used < self.limit

    def _leave(self) -> None:
        self._used -= 1
        while self._queue and self._may_enter():
            turn = self._queue.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)
