"""One line on a terminal that says how far a long command is.

Rules of this file: nothing at all is written where standard error is no terminal; the line is taken away before
anything else is written, and at the end.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TextIO

_EVERY = 0.1
_BAR = 24
_ERASE = "\r\x1b[K"


class Progress:
    """`done` of `total` files, None while that is not known, and `found`. Made for `with`."""

    def __init__(self, to: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.total: int | None = None
        self.done = 0
        self.found = 0
        self._to = to
        self._clock = clock
        self.shown = to.isatty()
        self._drawn = False
        self._drawn_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Takes the line away; `draw` brings it back."""
        if self._drawn:
            self._to.write(_ERASE)
            self._to.flush()
            self._drawn = False

    def tell(self, text: str) -> None:
        """Writes whole lines, terminal or not."""
        self.clear()
        print(text, file=self._to)

    def draw(self) -> None:
        """Shows how far it is; where the line stands already, ten times a second at the most."""
        now = self._clock()
        if not self.shown or (self._drawn and self._drawn_at + _EVERY > now):
            return
        self._drawn, self._drawn_at = True, now
        width = shutil.get_terminal_size().columns - 1
        self._to.write(_ERASE + self._spell()[:width])
        self._to.flush()

    def _spell(self) -> str:
        found = f", {self.found} found" if self.found else ""
        if self.total is None:
            return f"{self.done} files{found}"
        full = _BAR * min(self.done, self.total) // self.total if self.total else _BAR
        return f"[{'#' * full}{'.' * (_BAR - full)}] {self.done}/{self.total} files{found}"


@contextlib.contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """For the time of the block our warnings go to `tell`, without a line end."""
    handler = _Teller(tell)
    logger = logging.getLogger("avsluice")
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        # An engine that warns must not fail because nobody reads it; the command's own next word to them will.
        with contextlib.suppress(OSError):
            self._tell(self.format(record))
