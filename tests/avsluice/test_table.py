"""Words in columns."""

from __future__ import annotations

from avsluice.table import align


def test_columns_are_as_wide_as_their_widest_cell():
    """Cells stand below each other, without blanks at the end of a line."""
    assert align([("A", "LONG", "C"), ("aaa", "b", "")]) == ["A    LONG  C", "aaa  b"]
