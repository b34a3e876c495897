"""When a passage is well, and when it says little."""

from __future__ import annotations

import pytest

from avsluice.passages.passage import Fate, Passage
from avsluice.passages.round import find_doubts, find_troubles


def passage(fate: Fate, expected: Fate | None, *, infected: bool) -> Passage:
    """At one gateway."""
    what = "EICAR" if infected else "clean"
    return Passage(gateway="g.G", address="a", what=what, infected=infected, expected=expected, by="ACL", fate=fate)


@pytest.mark.parametrize(
    ("fate", "expected", "infected", "well", "leaked"),
    [
        (Fate.DELIVERED, Fate.DELIVERED, False, True, False),
        (Fate.DELIVERED, Fate.REFUSED, False, False, False),
        (Fate.REFUSED, Fate.REFUSED, False, True, False),
        (Fate.REFUSED, Fate.DELIVERED, False, False, False),
        (Fate.DEFERRED, Fate.DELIVERED, False, False, False),
        (Fate.FAILED, Fate.DELIVERED, False, False, False),
        (Fate.NOT_TRIED, None, False, True, False),
        (Fate.DELIVERED, Fate.REPLACED, False, True, False),
        (Fate.DELIVERED, Fate.REFUSED, True, False, True),
        (Fate.DELIVERED, Fate.DELIVERED, True, False, True),
        (Fate.DELIVERED, Fate.REPLACED, True, True, False),
        (Fate.REFUSED, Fate.REFUSED, True, True, False),
        (Fate.DISCARDED, Fate.REFUSED, True, True, False),
        (Fate.DEFERRED, Fate.REFUSED, True, False, False),
        (Fate.DEFERRED, Fate.DEFERRED, True, True, False),
        (Fate.FAILED, None, True, False, False),
    ],
)
def test_well_and_leaked(fate: Fate, expected: Fate | None, infected: bool, well: bool, leaked: bool):
    """EICAR that is delivered is never well, unless it is to be replaced; a trouble is told of what is not well."""
    one = passage(fate, expected, infected=infected)
    assert (one.well, one.leaked) == (well, leaked)
    assert [text for text, _ in find_troubles([one])] == [
        *["g.G at a LET EICAR PASS (EICAR)"] * leaked,
        *[f"g.G at a: {one.what}: {fate}: "] * (not well and not leaked),
    ]


@pytest.mark.parametrize(
    ("fate", "expected", "infected", "told"),
    [
        (Fate.REFUSED, Fate.REFUSED, False, "proves little"),
        (Fate.DELIVERED, Fate.REPLACED, True, "look whether the mail that arrived"),
        (Fate.DISCARDED, Fate.REFUSED, True, "is it the one in force?"),
        (Fate.REFUSED, Fate.REFUSED, True, ""),
        (Fate.NOT_TRIED, None, True, ""),
        (Fate.DELIVERED, Fate.DELIVERED, False, ""),
    ],
)
def test_doubts(fate: Fate, expected: Fate | None, infected: bool, told: str):
    """What is well, but less than it looks like, has one."""
    doubts = list(find_doubts([passage(fate, expected, infected=infected)]))
    assert len(doubts) == bool(told)
    assert all(told in doubt for doubt in doubts)
