"""When an endpoint that fails is left alone, and for how long. No clock of its own, no I/O.

Rules of this file: three failures in a row open the breaker; while it is open nothing is asked but, after a pause
that doubles from one second to thirty, one canary; a single success closes it. Pauses are spread at random, lest
gateways that lost one engine together come back to it together.
"""

from __future__ import annotations

import random
from collections.abc import Callable

THRESHOLD = 3
"""Failures in a row that open the breaker."""

SHORTEST, LONGEST = 1.0, 30.0
"""Seconds between two canaries while the engine fails."""

_SPREAD = 0.25


def _spread() -> float:
    return random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311  (nothing is to be guessed)


class Breaker:
    """Counts failures in a row. Times are seconds of the caller's clock; `spread` is near 1 (tests: exactly 1)."""

    def __init__(self, spread: Callable[[], float] = _spread) -> None:
        self.failures = 0
        self.retry_at = 0.0
        self._spread = spread

    def __repr__(self) -> str:
        return f"<Breaker {'open' if self.tripped else 'closed'}, {self.failures} failures>"

    @property
    def tripped(self) -> bool:
        """Whether there were too many failures since the last success."""
        return self.failures >= THRESHOLD

    def is_open(self, now: float) -> bool:
        """Whether nothing is to be asked yet. Tripped, but no longer open: half-open, the next canary decides."""
        return self.tripped and now < self.retry_at

    def fail(self, now: float) -> None:
        """One more failure; `retry_at` says when to try again."""
        doublings = min(self.failures, 10)
        self.failures += 1
        self.retry_at = now + min(max(SHORTEST * 2.0**doublings * self._spread(), SHORTEST), LONGEST)

    def succeed(self) -> None:
        """Closes it."""
        self.failures = 0
        self.retry_at = 0.0
