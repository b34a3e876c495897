"""Where lines begin with two hyphens: the short way finds what the pattern finds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mime.window import CHUNK, Window
from scanners.body import MemoryBody

_DASHED = re.compile(rb"(?:\A|(?<=[\r\n]))--")


@given(st.lists(st.sampled_from([b"-", b"--", b"\r", b"\n", b"\r\n", b"a", b"aaaa", b"---"])).map(b"".join))
def test_every_dashed_line_is_found(data: bytes) -> None:
    """From every offset, the next line that begins with two hyphens is the one that a plain pattern finds."""
    window = Window(MemoryBody(data))
    for start in range(len(data)):
        found = next((m.start() for m in _DASHED.finditer(data) if m.start() >= start), -1)
        # A search takes its own start for the begin of a line.
        expected = start if data.startswith(b"--", start) else found
        assert window.find_dashes(start) == expected


@pytest.mark.parametrize("before", range(CHUNK - 4, CHUNK + 2))
def test_dashes_across_two_pieces_are_found(before: int) -> None:
    """A line that begins at the very end of a piece, or right behind it, is found as any other."""
    data = b"a" * before + b"\n--b"
    assert Window(MemoryBody(data)).find_dashes(0) == before + 1
