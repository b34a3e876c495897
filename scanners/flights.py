"""One check for many who ask the same thing at the same time.

Rules of this file: the first who asks leads and the others join; a leader that fails or is cancelled harms nobody:
those who joined learn that there is nothing for them; nobody's cancellation reaches anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from types import TracebackType


class Flight[Key: Hashable, Answer]:
    """One check under way, for the time of a `with` block."""

    __slots__ = ("_answer", "_joined", "_key", "_under_way")

    def __init__(self, under_way: dict[Key, Flight[Key, Answer]], key: Key) -> None:
        self._under_way = under_way
        self._key = key
        self._answer: Answer | None = None
        self._joined: asyncio.Future[None] | None = None

    def __enter__(self) -> Flight[Key, Answer]:
        # Where the same is under way already, nobody joins this one.
        self._under_way.setdefault(self._key, self)
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        if self._under_way.get(self._key) is self:
            del self._under_way[self._key]
        if self._joined is not None and not self._joined.done():
            self._joined.set_result(None)

    def land(self, answer: Answer | None) -> None:
        """The answer for all who joined, given to them when the block ends; without it there is none for them."""
        self._answer = answer

    async def join(self, patience: float) -> Answer | None:
        """The answer, within `patience` seconds; None where there is none for us."""
        if self._joined is None:
            self._joined = asyncio.get_running_loop().create_future()
        # Not `wait_for`, which cancels what it waits for.
        await asyncio.wait([self._joined], timeout=patience)
        return self._answer


class Flights[Key: Hashable, Answer]:
    """The checks under way, by what they are about."""

    def __init__(self) -> None:
        self._under_way: dict[Key, Flight[Key, Answer]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def join(self, key: Key, patience: float) -> Answer | None:
        """The answer of a check under way; at once None where there is no such check."""
        flight = self._under_way.get(key)
        return None if flight is None else await flight.join(patience)

    def lead(self, key: Key) -> Flight[Key, Answer]:
        """Others may join until the block ends."""
        return Flight(self._under_way, key)
