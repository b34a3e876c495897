"""Every variant, in the order of the table."""

from __future__ import annotations

from functools import cache

from tests.http.variants import archives, codings, framings, heads, ranges, uploads
from tests.http.variants.variant import Variant


@cache
def catalogue() -> tuple[Variant, ...]:
    """All of them; what they build is made anew at each call."""
    rules = (codings, framings, heads, archives, ranges, uploads)
    return tuple(variant for rule in rules for variant in rule.every())
