"""What unpacking may cost.

Rules of this file: every byte that comes out of an unpacker and every member is paid for before it is looked
at; whoever cannot pay stops the whole scan, and the object is `skipped`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_DEPTH = 12
MAX_RATIO = 250
RATIO_COUNTS_FROM = 16 * 1024 * 1024
MAX_DICTIONARY = 48 * 1024 * 1024
"""Bytes that one LZMA decompressor may ask for."""


class Unseen(Exception):
    """Some of an object was not looked at; the rest of it may still be."""


class Damaged(Exception):
    """Some of an object can be read in different ways, or not at all."""


class Excess(Exception):
    """Looking further would cost too much."""


@dataclass
class Budget:
    """Unpacked bytes, copied bytes, members and seconds for one object; `stopped` is asked often, and tells that nobody
    wants to know any more."""

    unpacked: int = 256 * 1024 * 1024
    copied: int = 512 * 1024 * 1024
    members: int = 10_000
    seconds: float = 10.0
    stopped: Callable[[], bool] | None = None
    _deadline: float | None = field(init=False, default=None)

    def tick(self) -> None:
        """Called for every chunk of anything."""
        if self.stopped is not None and self.stopped():
            raise Excess("given up")
        if self.left() < 0:
            raise Excess(f"not unpacked within {self.seconds:g} s")

    def left(self) -> float:
        """Seconds; negative where there are none left."""
        now = time.monotonic()
        if self._deadline is None:
            # From the first byte on: waiting for one's turn is not unpacking.
            self._deadline = now + self.seconds
        return self._deadline - now

    def pay(self, unpacked: int) -> None:
        """Called for what an unpacker produced."""
        self.unpacked -= unpacked
        if self.unpacked < 0:
            raise Excess("unpacks to too much")

    def copy(self, size: int) -> None:
        """Called for what is laid down once more, to be looked at as a whole."""
        self.copied -= size
        if self.copied < 0:
            raise Excess("takes too much room")

    def enter(self) -> None:
        """Called for every member of an archive."""
        self.members -= 1
        if self.members < 0:
            raise Excess("too many members")
