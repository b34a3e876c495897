"""The bytes of a mail, looked at through a window.

Rules of this file: no more than a window's bytes lie in memory; every offset is one of the mail's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

CHUNK = 256 * 1024
LINE = 1024
"""Of a line that begins with two hyphens no more than this is looked at."""

_DASHES = re.compile(rb"[\r\n]--")


class Readable(Protocol):
    """What can be read at an offset: a spool, a body in memory, a part of either."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""


class Stopped(Exception):
    """Nobody waits any more for what is read."""


class Watched:
    """A body whose reading ends with Stopped once `stop` says so."""

    def __init__(self, body: Readable, stop: Callable[[], bool]) -> None:
        self._body, self._stop = body, stop
        self.size = body.size

    def read(self, offset: int, size: int) -> bytes:
        """As the body's. Raises Stopped."""
        if self._stop():
            raise Stopped
        return self._body.read(offset, size)


class Window:
    """Reads a body forward, mostly, and finds lines in it."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self._data = b""
        self._start = 0
        self.size = body.size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes between two offsets."""
        return self._body.read(start, max(0, min(stop, self.size) - start))

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes between two offsets, piece by piece."""
        while start < stop and (data := self.read(start, min(stop, start + CHUNK))):
            yield data
            start += len(data)

    def find_dashes(self, start: int) -> int:
        """The first offset from `start` on, itself the begin of a line, where a line begins with two hyphens; -1."""
        if self._slice(start, start + 2) == b"--":
            return start
        at = start
        while at < self.size - 2:
            self._move(at)
            match = _search_dashes(self._data, at - self._start)
            if match:
                return self._start + match.start() + 1
            at = max(at + 1, self._start + len(self._data) - 2)
        return -1

    def line(self, start: int) -> tuple[bytes, int]:
        """The line at `start` with its end, cut at LINE bytes, and the offset of the next."""
        head = self._slice(start, start + LINE)
        end = head.find(b"\n")
        if end >= 0:
            return head[: end + 1], start + end + 1
        return head, self.find(b"\n", start) + 1 or self.size

    def find(self, needle: bytes, start: int) -> int:
        """Where one byte is, from `start` on; -1."""
        at = start
        while at < self.size:
            self._move(at)
            found = self._data.find(needle, at - self._start)
            if found >= 0:
                return self._start + found
            at = self._start + len(self._data)
        return -1

    def _slice(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if not (self._start <= start and stop <= self._start + len(self._data)):
            self._load(start)
        return self._data[start - self._start : stop - self._start]

    def _move(self, at: int) -> None:
        # Not at the very end of what is here: a match could lie across it.
        if not self._start <= at < self._start + len(self._data) - 3:
            self._load(at)

    def _load(self, at: int) -> None:
        self._data = self._body.read(at, CHUNK)
        self._start = at


def _search_dashes(data: bytes, at: int) -> re.Match[bytes] | None:
    """As the pattern finds them. Base64 has no hyphens: that there are none is found out ten times as fast."""
    dashes = data.find(b"--", at + 1)
    return _DASHES.search(data, dashes - 1) if dashes > 0 else None
