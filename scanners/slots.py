"""Places for checks under way, handed out in order of arrival.

Rules of this file: a place that is given up goes straight to who waits longest, so nobody is overtaken; whoever is
cancelled keeps neither a place nor a turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque


class Slots:
    """`count` places. Every `take` or successful `take_now` is followed by one `give_back`."""

    __slots__ = ("_count", "_queue", "taken")

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    def __repr__(self) -> str:
        return f"<Slots {self.taken} of {self._count} taken, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    def take_now(self) -> bool:
        """A place, if one is free. Nobody waits then: a free place would have been handed over."""
        if self.taken < self._count:
            self.taken += 1
            return True
        return False

    async def take(self) -> None:
        """A place, after all who came before."""
        if self.take_now():
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):  # given up and passed over already
                    self._queue.remove(turn)
            else:
                self.give_back()  # it was ours already
            raise

    def give_back(self) -> None:
        """The place goes to the next in the queue, if any."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1
