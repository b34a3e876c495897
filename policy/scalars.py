"""The scalars of the policy file: durations, sizes, names, lines of text.

Rules of this file: each scalar is parsed once, into what the rest computes with (seconds, bytes); what is
refused says what to write instead; every number has an upper bound.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_TEXT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
_LONGEST = 10 * 366 * 86400.0

_BYTES = {"b": 1, "": 1} | {f"{u}ib": 1024**n for n, u in enumerate("kmgt", 1)}
_BYTES |= {f"{u}b": 1000**n for n, u in enumerate("kmgt", 1)}
_SIZE_TEXT = re.compile(r"(\d{1,18})(?:\.(\d{1,6}))? ?([a-z]{0,3})", re.ASCII)
LARGEST = 2**60

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def parse_duration(value: object) -> float:
    """Seconds from `500ms 5s 2m 1h 30d` or a bare number of seconds, at most ten years; ValueError else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a duration; write for example 500ms, 5s, 2m, 1h or 30d")
    seconds: float
    if isinstance(value, str):
        match = _DURATION_TEXT.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a duration; write for example 500ms, 5s, 2m, 1h or 30d")
        seconds = float(match[1]) * _SECONDS[match[2]]
    else:
        seconds = float(value)
    if not 0 <= seconds <= _LONGEST:  # also refuses nan
        raise ValueError(f"{value} is out of range; write a duration from 1ms to 3650d")
    return seconds


def parse_positive_duration(value: object) -> float:
    """As `parse_duration`, but never nothing."""
    if (seconds := parse_duration(value)) <= 0:
        raise ValueError("must be longer than nothing; write for example 5s")
    return seconds


def parse_canary(value: object) -> float | None:
    """An interval in seconds, or None for the word `off`."""
    return None if value == "off" or value is None else parse_positive_duration(value)


def parse_size(value: object) -> int:
    """Bytes from `2000`, `64KiB` (1024) or `1MB` (1000), at most 1 EiB; ValueError else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _bounded(value)
    match = _SIZE_TEXT.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size; write bytes (2000) or for example 64KiB, 1MB")
    whole, fraction, unit = match[1], match[2] or "", match[3]
    if unit in ("k", "m", "g", "t"):
        raise ValueError(f"{value!r} is unclear; write {unit.upper()}iB (1024) or {unit.upper()}B (1000)")
    if unit not in _BYTES:
        raise ValueError(f"{value!r} has no unit we know; write KiB, MiB, GiB, TiB, KB, MB, GB or TB")
    return _bounded(int(whole + fraction) * _BYTES[unit] // 10 ** len(fraction))


def _bounded(size: int) -> int:
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{size} is out of range; write a size from 0 to {LARGEST} bytes")
    return size


def parse_positive_size(value: object) -> int:
    """As `parse_size`, but at least one byte."""
    if (size := parse_size(value)) < 1:
        raise ValueError("must be at least one byte")
    return size


def size_or_none(value: object) -> int | None:
    """As `parse_size`, for rules between sizes: None for what is refused where it stands."""
    try:
        return parse_size(value)
    except ValueError:
        return None


def parse_name(value: object) -> str:
    """The name of a section or an ACL: it stands in logs, commands and replies, so it is a plain word."""
    if not isinstance(value, str) or not re.fullmatch(NAME, value):
        raise ValueError(f"{value!r} is no name; write up to 64 letters, digits, - and _ (all digits: in quotes)")
    return value


def parse_line(value: object) -> str:
    """One line of text for a reply or a header: a line end in it would forge the next line."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text; put it in quotes")
    if not value.strip() or len(value) > 400 or not value.isprintable():
        raise ValueError("must be one line of 1 to 400 printable characters")
    return value
