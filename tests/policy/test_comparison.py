"""The size condition."""

from __future__ import annotations

import pytest

from policy.comparison import parse_comparison
from policy.scalars import LARGEST


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        (">10MiB", 10 * 2**20 + 1, 10 * 2**20),
        (">=10", 10, 9),
        ("<1KB", 999, 1000),
        ("<= 2000", 2000, 2001),
        ("=0", 0, 1),
    ],
)
def test_operator_and_size(text: str, holds: int, fails: int):
    """Each operator holds up to its bound and not beyond."""
    comparison = parse_comparison(text)
    assert comparison.holds(holds)
    assert not comparison.holds(fails)
    assert str(comparison) == text


@pytest.mark.parametrize("value", ["10MiB", 10, ">", "!=5", "> many", None])
def test_without_an_operator_it_is_refused(value: object):
    """A bare size could mean anything, so it is refused."""
    with pytest.raises(ValueError, match="write"):
        parse_comparison(value)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [(">5", 6, LARGEST), (">=5", 5, LARGEST), ("<5", 0, 4), ("<=5", 0, 5), ("=5", 5, 5)],
)
def test_range_of_a_comparison(text: str, low: int, high: int):
    """Lint compares the ranges that two conditions hold for."""
    comparison = parse_comparison(text)
    assert (comparison.lowest, comparison.highest) == (low, high)
