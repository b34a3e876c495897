"""Where the views of one mail lie: in spools of the gateway's room.

Rules of this file: whoever made the shelf closes it; of one mail only so much lies in memory and in files, and what is
more is told (TooMuch); once nobody waits any more nothing is stored (Stopped).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inspection.spool import Spool, SpoolRoom
from mailgw.mime.header import TooMuch
from mailgw.mime.walker import Limits
from mailgw.mime.window import Readable, Stopped, Watched

_MEMORY = 16 << 20  # bytes of one mail's views, until each may have only THRIFTY of them
_THRIFTY = 16 << 10


class _ThriftyRoom(SpoolRoom):
    """The same room, but for its memory."""

    def __init__(self, room: SpoolRoom) -> None:
        super().__init__(
            room.directory,
            memory=min(room.memory, _THRIFTY),
            max_object=room.max_object,
            max_total=room.max_total,
        )
        self.take, self.give_back = room.take, room.give_back  # type: ignore[method-assign]  # one count for both


class Shelf:
    """Opens spools, and closes them all."""

    def __init__(self, room: SpoolRoom, limits: Limits | None = None, stop: Callable[[], bool] = lambda: False) -> None:
        self.limits = limits or Limits()
        self._room, self._thrifty = room, _ThriftyRoom(room)
        self._stop = stop
        self._spools: set[Spool] = set()
        self._in_files: set[Spool] = set()
        self._memory = 0

    def __repr__(self) -> str:
        return f"<Shelf {len(self._spools)} spools, {len(self._in_files)} of them files, {self._memory} in memory>"

    def store(self, pieces: Iterable[bytes]) -> Spool:
        """The pieces in a finished spool. Raises SpoolFull, OSError, Stopped, TooMuch."""
        if len(self._spools) >= self.limits.views:
            raise TooMuch(f"more than {self.limits.views} views")
        if len(self._in_files) >= self.limits.files:
            raise TooMuch(f"more than {self.limits.files} views that take a file each")
        room = self._room if self._memory < _MEMORY else self._thrifty
        spool = room.open()
        self._spools.add(spool)
        for piece in pieces:
            if self._stop():
                raise Stopped
            if piece:
                spool.append(piece)
        spool.finish()
        if spool.size > room.memory:
            self._in_files.add(spool)
        else:
            self._memory += spool.size
        return spool

    def drop(self, spool: Spool) -> None:
        """A view that was seen before."""
        if spool not in self._in_files:
            self._memory -= spool.size
        self._in_files.discard(spool)
        self._spools.discard(spool)
        spool.close()

    def watch(self, body: Readable) -> Watched:
        """The body, whose reading can be stopped."""
        return Watched(body, self._stop)

    def close(self) -> None:
        """Everything is let go. May be called twice."""
        for spool in self._spools:
            spool.close()
        self._spools.clear()
