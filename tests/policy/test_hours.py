"""The time condition."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from policy.hours import Hours, parse_weekdays, parse_window

SUNDAY = datetime(2026, 11, 22, 10, 30)  # naive: local time is what is asked about


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"weekday": "sun"}, True),
        ({"weekday": "mon-fri"}, False),
        ({"weekday": ["mon", "sat-sun"]}, True),
        ({"weekday": "sat-mon"}, True),
        ({"hours": "10:00-11:00"}, True),
        ({"hours": "10:31-11:00"}, False),
        ({"hours": "08:00-10:30"}, False),
        ({"hours": ["00:00-01:00", "10:00-24:00"]}, True),
        ({"hours": "22:00-10:31"}, True),
        ({"hours": "22:00-06:00"}, False),
        ({"weekday": "sun", "hours": "22:00-06:00"}, False),
    ],
)
def test_weekday_and_hours(when: dict[str, object], holds: bool):
    """Both parts must hold, any item of a list will do, and a window may run over midnight."""
    assert Hours.model_validate(when).holds(SUNDAY) is holds


def test_an_aware_moment_is_taken_to_local_time():
    """The same instant in UTC and in local time is judged alike."""
    local = SUNDAY.astimezone()
    hours = Hours.model_validate({"hours": "10:30-10:31"})
    assert hours.holds(local)
    assert hours.holds(local.astimezone(UTC))


@pytest.mark.parametrize("text", ["", "monday", "mon-", "mon-xyz", "fri-mon-tue"])
def test_what_is_no_weekday_is_refused(text: str):
    """Weekdays are three letters, or two of them with a hyphen."""
    with pytest.raises(ValueError, match="weekday"):
        parse_weekdays(text)


@pytest.mark.parametrize("text", ["", "8-17", "08:00", "08:00-25:00", "08:60-09:00", "08:00-08:00", "08:00-24:01"])
def test_what_is_no_window_is_refused(text: str):
    """Hours are two times of day that differ."""
    with pytest.raises(ValueError, match=r"08:00-17:00"):
        parse_window(text)


def test_an_empty_time_is_refused():
    """A time condition that says nothing is a mistake."""
    with pytest.raises(ValidationError, match="weekday, hours or both"):
        Hours.model_validate({})
