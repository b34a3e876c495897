"""asyncio's stream reader as mitmproxy's connection handlers need it: large pieces, uncopied, and a gate before them.

Rules of this file: a reader is taken over once, when its connection is made, and only `read` is asked of it from then
on; bytes leave in the pieces that they came in; what waits here is bounded as in asyncio's own reader, whose flow
control, end and errors stay its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

# What is handed on at once, bytes, and taken from the socket at once where a body comes as fast as it can. mitmproxy
# asks for 64 KiB, but each piece is a turn through all of its layers, an update of the hash and a write.
PIECE = 1024 * 1024
_FULL = 256 * 1024  # what asyncio takes at once (selector_events, max_size)


class PieceReader(asyncio.StreamReader):
    """Made of a reader by `take_over`.

    `hold` keeps what arrives from mitmproxy. Pausing the transport would not: the stream resumes it by itself. With
    nobody reading, twice the limit (128 KiB) is kept, and the piece that overflows it; then TCP holds the peer back."""

    if TYPE_CHECKING:  # asyncio's own, which its types do not tell
        _buffer: bytearray
        _eof: bool
        _limit: int
        _loop: asyncio.AbstractEventLoop
        _paused: bool
        _transport: Any

        def _wakeup_waiter(self) -> None: ...
        async def _wait_for_data(self, func_name: str) -> None: ...
        def _maybe_resume_transport(self) -> None: ...

    heard_at: float | None = None  # when the first byte came since somebody set this to None, in the loop's time
    _pieces: deque[bytes]
    _waiting: int  # bytes in the pieces
    _passable: asyncio.Event

    @classmethod
    def take_over(cls, reader: asyncio.StreamReader) -> PieceReader:
        """The same object, reading in this way from now on. May be called twice."""
        if not isinstance(reader, PieceReader):
            reader.__class__ = cls
            cast(PieceReader, reader)._begin()
        return cast(PieceReader, reader)

    def _begin(self) -> None:
        self._pieces, self._waiting = deque(), 0
        self._passable = asyncio.Event()
        self._passable.set()
        if self._buffer:
            self._keep(bytes(self._buffer))
            self._buffer.clear()

    def hold(self) -> None:
        """Nothing is read until `let_go`; a read that is under way may still end."""
        self._passable.clear()

    def let_go(self) -> None:
        """Reading goes on."""
        self._passable.set()

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # asyncio gives bytes, its types say less
        """Some bytes have arrived: asyncio's part of the transport's protocol."""
        if not data:
            return
        if self.heard_at is None:
            self.heard_at = self._loop.time()
        self._keep(data)
        self._wakeup_waiter()
        if self._transport is None:
            return
        if len(data) == _FULL and hasattr(self._transport, "max_size"):
            self._transport.max_size = PIECE
        if self._waiting > 2 * self._limit and not self._paused:
            self._transport.pause_reading()
            self._paused = True

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)

    def at_eof(self) -> bool:
        """True where no byte is left and none will come."""
        return self._eof and not self._pieces

    async def read(self, n: int = -1) -> bytes:
        """What lies here, at least a byte, up to a PIECE; b"" at the end. `n` is taken for a wish. Raises what the
        connection broke of."""
        await self._passable.wait()
        if (error := self.exception()) is not None:
            raise error
        if not self._pieces and not self._eof:
            await self._wait_for_data("read")
        data = self._take()
        if self._waiting <= self._limit:
            self._maybe_resume_transport()
        return data

    def _take(self) -> bytes:
        """Small pieces go together; nothing is lost where the read was cancelled before."""
        taken: list[bytes] = []
        room = PIECE
        while self._pieces and (not taken or len(self._pieces[0]) <= room):
            taken.append(self._pieces.popleft())
            room -= len(taken[-1])
        self._waiting -= PIECE - room
        return taken[0] if len(taken) == 1 else b"".join(taken)
