"""Durations, sizes, names and lines of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.scalars import (
    parse_canary,
    parse_duration,
    parse_line,
    parse_name,
    parse_positive_duration,
    parse_positive_size,
    parse_size,
    size_or_none,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("2m", 120), ("1h", 3600), ("30d", 2592000), (7, 7), (0.25, 0.25), ("1.5s", 1.5)],
)
def test_duration_is_read_as_seconds(text: object, seconds: float):
    """Every unit of the specification, and a bare number of seconds, is understood."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 s", "5S", "-5s", "5s5s", "1w", None, True, [], "\u0665s", float("nan"), 1e12]
)
def test_what_is_no_duration_is_refused(text: object):
    """Anything else is refused with a word on what to write."""
    with pytest.raises(ValueError, match="write"):
        parse_duration(text)


def test_zero_is_a_duration_only_where_it_means_off():
    """Zero is read by itself and refused where something must take time."""
    assert parse_duration(0) == 0
    with pytest.raises(ValueError, match="longer than nothing"):
        parse_positive_duration("0s")


def test_canary_may_be_off():
    """The canary's interval is a duration or the word off, and never zero."""
    assert parse_canary("off") is None
    assert parse_canary("30s") == 30
    with pytest.raises(ValueError, match="longer"):
        parse_canary(0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (2000, 2000),
        ("2000", 2000),
        ("64KiB", 65536),
        ("64 kib", 65536),
        ("1MB", 1000000),
        ("1MiB", 1048576),
        ("1.5KiB", 1536),
        ("5GB", 5 * 10**9),
        ("1TiB", 2**40),
        ("7B", 7),
    ],
)
def test_size_is_read_as_bytes(text: object, size: int):
    """Binary units count by 1024, decimal ones by 1000."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1M", "1X", "KiB", "-1", -1, 1.5, True, None, "1e3", "99999999TiB", 2**70])
def test_what_is_no_size_is_refused(text: object):
    """An unclear unit, a fraction of a byte, a negative or a boundless size is refused."""
    with pytest.raises(ValueError, match="write"):
        parse_size(text)


def test_positive_size_is_at_least_a_byte():
    """Zero bytes are refused where something must fit."""
    with pytest.raises(ValueError, match="one byte"):
        parse_positive_size("0KiB")


def test_size_or_none_leaves_the_complaint_to_others():
    """A rule between sizes sees None for what is refused where it stands."""
    assert size_or_none("nonsense") is None
    assert size_or_none("2KiB") == 2048


@pytest.mark.parametrize("name", ["A", "SMTP-2", "my_acl", "0"])
def test_names_are_plain_words(name: str):
    """Letters, digits, hyphen and underscore make a name."""
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "a.b", "a\n", "é", "x" * 65, 5, None])
def test_what_would_be_unclear_in_a_log_is_no_name(name: object):
    """Dots, spaces, line ends and everything beyond ASCII are refused."""
    with pytest.raises(ValueError, match="no name"):
        parse_name(name)


@given(st.text())
def test_a_line_never_holds_a_control_character(text: str):
    """Whatever is accepted as a line cannot forge another line of a protocol."""
    try:
        line = parse_line(text)
    except ValueError:
        return
    assert line == text
    assert line.isprintable()
    assert 1 <= len(line) <= 400


def test_a_line_is_text():
    """A number is no line."""
    with pytest.raises(ValueError, match="quotes"):
        parse_line(5)
