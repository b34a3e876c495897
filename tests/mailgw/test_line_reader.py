"""A client's lines."""

from __future__ import annotations

import pytest

from mailgw.line_reader import LineTooLong, take_line


def test_a_line_is_taken_at_its_end_and_bounded() -> None:
    """The rest stays; a line without an end within the bound is too long."""
    inbox = bytearray(b"NOOP\r\nQUIT")
    assert (take_line(inbox, 10), bytes(inbox), take_line(inbox, 10)) == (b"NOOP\r\n", b"QUIT", None)
    with pytest.raises(LineTooLong):
        take_line(bytearray(b"x" * 10 + b"\r\n"), 10)
