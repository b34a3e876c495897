"""Unquoted words."""

from __future__ import annotations

import pytest

from policy.plain_scalar import resolve_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("9" * 30, "9" * 30),
    ],
)
def test_core_schema_and_nothing_beyond(text: str, value: object):
    """Numbers, truth values and null are told from words; dates, times and endless numbers stay words."""
    resolved = resolve_scalar(text, plain=True)
    assert resolved == value
    assert type(resolved) is type(value)


def test_quoted_text_stays_text():
    """What stands in quotes is never a number."""
    assert resolve_scalar("12", plain=False) == "12"
    assert resolve_scalar("", plain=False) == ""
