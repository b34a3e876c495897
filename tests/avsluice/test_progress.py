"""The line that says how far it is."""

from __future__ import annotations

import io
import logging

from avsluice.progress import Progress, telling


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_nothing_where_there_is_no_terminal():
    """A file or a pipe gets no bar."""
    out = io.StringIO()
    with Progress(out) as progress:
        progress.draw()
    assert out.getvalue() == ""


def test_the_bar_shows_counts_and_goes_away():
    """Files without a total, then a bar; the line is erased in the end."""
    out, now = Terminal(), iter([0.0, 1.0, 1.05])
    with Progress(out, clock=lambda: next(now)) as progress:
        progress.done = 3
        progress.draw()
        progress.total, progress.found = 6, 1
        progress.draw()
        progress.done = 4
        progress.draw()  # too soon
    lines = out.getvalue().split("\r\x1b[K")
    assert lines == ["", "3 files", f"[{'#' * 12}{'.' * 12}] 3/6 files, 1 found", ""]


def test_warnings_are_told_in_lines_of_their_own():
    """A warning takes the bar away first, and goes nowhere else."""
    out = Terminal()
    progress = Progress(out)
    with progress, telling(progress.tell):
        progress.draw()
        logging.getLogger("avsluice.scanners").warning("engine %s is down", "E")
    assert out.getvalue() == "\r\x1b[K0 files\r\x1b[Kengine E is down\n"


def test_a_warning_that_nobody_reads_does_not_stop_its_engine():
    """The pipe is broken: who warns goes on."""

    def refuse(text: str) -> None:
        raise BrokenPipeError

    with telling(refuse):
        logging.getLogger("avsluice.scanners").warning("engine is down")
        assert logging.getLogger("avsluice").handlers
