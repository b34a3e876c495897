"""Engines' words for people and records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scanners.printable import printable


@given(st.binary(max_size=2000))
def test_printable_is_bounded_and_printable(words: bytes) -> None:
    """Any bytes become at most 255 printable characters."""
    shown = printable(words)
    assert len(shown) <= 255
    assert shown.isprintable()
