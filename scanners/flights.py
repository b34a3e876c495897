"""One check for many who ask the same thing at the same time.

Rules of this file: the first who asks leads and the others join; a leader that fails or is cancelled harms nobody:
those who joined learn that there is nothing for them; nobody's cancellation reaches anybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Iterator


class Flight[Answer]:
    """One check under way."""

    def __init__(self) -> None:
        self._landed: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

    def land(self, answer: Answer | None) -> None:
        """Gives the answer to all who joined; None: there is none for them. Only the first call counts."""
        if not self._landed.done():
            self._landed.set_result(answer)

    async def join(self, patience: float) -> Answer | None:
        """The answer, within `patience` seconds; None where there is none for us."""
        # Not `wait_for`, which cancels what it waits for.
        await asyncio.wait([self._landed], timeout=patience)
        return self._landed.result() if self._landed.done() else None


class Flights[Key: Hashable, Answer]:
    """The checks under way, by what they are about."""

    def __init__(self) -> None:
        self._under_way: dict[Key, Flight[Answer]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def join(self, key: Key, patience: float) -> Answer | None:
        """The answer of a check under way; at once None where there is no such check."""
        flight = self._under_way.get(key)
        return None if flight is None else await flight.join(patience)

    @contextlib.contextmanager
    def lead(self, key: Key) -> Iterator[Flight[Answer]]:
        """Others may join until the block ends. Where the same is under way already, nobody joins this one."""
        flight = Flight[Answer]()
        mine = self._under_way.setdefault(key, flight) is flight
        try:
            yield flight
        finally:
            flight.land(None)
            if mine:
                del self._under_way[key]
