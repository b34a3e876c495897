"""The trickle clock: how much of an object may leave before its verdict.

Rules of this file: no I/O and no clock of its own, times and counters come in and a number of bytes goes out;
only the offsets [0, limit) can ever leave; the last `chunk` bytes received never do, so an object no longer
than one chunk stays whole; ticks fall at t0 + k x interval and what one tick did not use is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Trickle:
    """One object's clock. Times are seconds of any monotonic clock, sizes are bytes that the client gets."""

    interval: float
    chunk: int
    limit: int
    released: int = 0
    _start: float | None = field(default=None, repr=False)
    _last_tick: int = field(default=0, repr=False)

    def begin(self, now: float) -> bool:
        """The first body byte has arrived from the origin; True where it really is the first."""
        if self._start is not None:
            return False
        self._start = now
        return True

    def next_tick(self) -> float | None:
        """When to ask again; None before the first byte and once the limit is used up."""
        if self._start is None or self.released >= self.limit:
            return None
        return self._start + (self._last_tick + 1) * self.interval

    def release(self, now: float, received: int) -> int:
        """How many further bytes leave at `now`, `received` bytes being here. Counts them as released."""
        due = self.next_tick()
        if self._start is None or due is None or now < due:
            return 0
        # A loop that came late finds several ticks behind it: they count as one, nothing accumulates.
        self._last_tick = max(self._last_tick + 1, int((now - self._start) / self.interval))
        size = max(0, min(self.chunk, self.limit - self.released, received - self.chunk - self.released))
        self.released += size
        return size
