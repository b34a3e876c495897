"""What a process sets up for itself."""

import logging

import pytest

from inspection.process import LogLines


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("the server says \x1b]0;owned\x07", "the server says \\u001b]0;owned\\u0007"),
        ("one\rtwo\x85three\u202e", "one\\u000dtwo\\u0085three\\u202e"),
        ("it broke\n2026-01-01 00:00:00 INFO all is well", "it broke\n    2026-01-01 00:00:00 INFO all is well"),
        ("plain, příliš", "plain, příliš"),
    ],
)
def test_a_peer_cannot_steer_the_log(message: str, line: str) -> None:
    """Control and bidi characters are escaped, and a second line is told from a line of ours."""
    record = logging.LogRecord("ftpgw", logging.WARNING, "file", 1, "%s", (message,), None)
    assert LogLines().format(record).partition(" WARNING ")[2] == line
