"""Whose turn it is to change what lies on a server.

Rules of this file: what is joined to a file has been checked with what was there, so while it is sent on nobody else of
this process writes, renames or deletes on that server; files are written by one at a time; nobody who only waits
holds up others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    server: str
    path: str | None
    alone: bool
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def hinders(self, other: _Turn) -> bool:
        if self.server != other.server:
            return False
        # A file has many names (links, other roots), so what must not be disturbed has the server for itself.
        return self.alone or other.alone or (self.path is not None and self.path == other.path)


class Turns:
    """Those who are changing something now."""

    def __init__(self) -> None:
        self._taken: set[_Turn] = set()

    def __repr__(self) -> str:
        return f"<Turns {len(self._taken)} taken>"

    @asynccontextmanager
    async def take(self, server: str, path: str | None, *, alone: bool, patience: float) -> AsyncIterator[None]:
        """Change `path` (None: some name or other) on that server; `alone`: with nobody else. Raises TimeoutError where
        others take longer than `patience`, seconds."""
        turn = _Turn(server, path, alone)
        async with asyncio.timeout(patience):
            while hinders := next((one for one in self._taken if one.hinders(turn)), None):
                await hinders.over.wait()
        self._taken.add(turn)
        try:
            yield
        finally:
            self._taken.discard(turn)
            turn.over.set()


TURNS = Turns()
"""Of this process, whatever gateways lead to a server."""
