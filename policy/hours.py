"""The `time` condition: days of the week and hours of the day, local time.

Rules of this file: a window that ends before it begins runs over midnight; the weekday is that of the moment
asked about; the end is not part of the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from policy.fields import OneOrMany
from policy.section import Problems, Section

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


def parse_weekdays(value: object) -> frozenset[int]:
    """Monday is 0: from `mon` or `mon-fri` (`sat-mon` runs over the week's end)."""
    first, dash, last = str(value).strip().lower().partition("-")
    last = last if dash else first
    if first not in _DAYS or last not in _DAYS:
        raise ValueError(f"{value!r} is no weekday; write for example mon, or mon-fri")
    begin, end = _DAYS.index(first), _DAYS.index(last)
    return frozenset((begin + n) % 7 for n in range((end - begin) % 7 + 1))


def parse_window(value: object) -> tuple[int, int]:
    """Minutes since midnight, begin and end, from `08:00-17:00`; 24:00 is the end of the day."""
    match = _WINDOW.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no time of day; write for example 08:00-17:00")
    begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if begin == end or end > 24 * 60:
        raise ValueError(f"{value!r} is no window; write for example 08:00-17:00")
    return begin, end


type Weekdays = Annotated[
    frozenset[int],
    BeforeValidator(parse_weekdays),
    WithJsonSchema({"type": "string", "examples": ["mon-fri"]}),
]
type Window = Annotated[
    tuple[int, int],
    BeforeValidator(parse_window),
    WithJsonSchema({"type": "string", "examples": ["08:00-17:00"]}),
]


class Hours(Section):
    """Holds when both do: one of the weekdays, one of the hours. An absent one always does."""

    weekday: OneOrMany[Weekdays] = (frozenset(range(7)),)
    hours: OneOrMany[Window] = ((0, 24 * 60),)

    @classmethod
    def rules(cls, raw: Mapping[str, object]) -> Problems:
        if not raw:
            yield (), "is empty; write weekday, hours or both"

    def holds(self, at: datetime) -> bool:
        """Whether the moment lies inside; an aware one is taken to local time first."""
        local = at.astimezone() if at.tzinfo else at
        minute = local.hour * 60 + local.minute
        return any(local.weekday() in days for days in self.weekday) and any(
            _within(minute, begin, end) for begin, end in self.hours
        )


def _within(minute: int, begin: int, end: int) -> bool:
    return begin <= minute < end if begin < end else minute >= begin or minute < end
