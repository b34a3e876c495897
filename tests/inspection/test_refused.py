"""The blocked memory: what it keeps, for how long, and how much of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.refused import Refused, RefusedMemory
from policy.verdict import Status

KEY = ("GET", "http://example.org/a", '"etag"', None)
FOUND = Refused(id="i" * 20, status=Status.FOUND, reason="virus-found", virus="Eicar")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("status", [Status.FOUND, Status.SKIPPED, Status.UNKNOWN])
def test_a_refusal_is_recalled_with_its_verdict(status):
    """What was cut as found, skipped or unknown is known again, with the first refusal's id."""
    memory = RefusedMemory(600)
    refused = Refused(id="x" * 20, status=status, reason="antivirus-status")
    memory.remember(KEY, refused)
    assert memory.recall(list(KEY)) == refused


@pytest.mark.parametrize("status", [Status.ERROR, Status.FREE])
def test_an_error_is_never_remembered(status):
    """An engine's outage blocks nobody longer than it lasts, and `free` is no refusal."""
    memory = RefusedMemory(600)
    memory.remember(KEY, Refused(id="x" * 20, status=status, reason="antivirus-error"))
    assert memory.recall(KEY) is None
    assert len(memory) == 0


def test_it_is_forgotten_after_its_time():
    """The time counts from the cut, whether it was asked for or not, and the entry is gone with it."""
    clock = Clock()
    memory = RefusedMemory(600, clock=clock)
    memory.remember(KEY, FOUND)
    clock.now += 599
    assert memory.recall(KEY) == FOUND
    clock.now += 1
    assert memory.recall(KEY) is None
    assert len(memory) == 0


def test_a_new_cut_counts_anew():
    """The same object cut again is remembered from then on, with the new verdict."""
    clock = Clock()
    memory = RefusedMemory(600, clock=clock)
    memory.remember(KEY, FOUND)
    clock.now += 599
    again = Refused(id="j" * 20, status=Status.SKIPPED, reason="antivirus-status")
    memory.remember(KEY, again)
    clock.now += 599
    assert memory.recall(KEY) == again
    assert len(memory) == 1


def test_zero_is_off():
    """A memory of 0 seconds keeps nothing."""
    memory = RefusedMemory(0)
    memory.remember(KEY, FOUND)
    assert memory.recall(KEY) is None


def test_it_is_bounded_and_keeps_what_is_asked_for():
    """Above its size the entry that was asked for least recently goes."""
    memory = RefusedMemory(600, entries=3)
    for name in "abc":
        memory.remember((name,), FOUND)
    assert memory.recall(("a",)) == FOUND
    memory.remember(("d",), FOUND)
    assert [memory.recall((name,)) is None for name in "abcd"] == [False, True, False, False]
    assert len(memory) == 3


def test_forget_all():
    """A reload or a new engine version forgets everything."""
    memory = RefusedMemory(600)
    memory.remember(KEY, FOUND)
    memory.forget_all()
    assert memory.recall(KEY) is None
    assert "0 of 10000" in repr(memory)


@given(st.lists(st.lists(st.none() | st.text(max_size=3), max_size=3), min_size=2, max_size=2, unique_by=tuple))
def test_different_keys_never_meet(keys):
    """Parts cannot flow into each other, and a missing validator is not an empty one."""
    memory = RefusedMemory(600)
    memory.remember(keys[0], FOUND)
    assert memory.recall(keys[1]) is None


def test_odd_texts_are_keys():
    """A URL of any length and with bytes that are no UTF-8 is a key, and costs no more than another."""
    memory = RefusedMemory(600)
    memory.remember(("GET", "http://h/\udcff" + "a" * 100_000), FOUND)
    assert memory.recall(("GET", "http://h/\udcff" + "a" * 100_000)) == FOUND
    assert memory.recall(("GET", "http://h/\udcfe" + "a" * 100_000)) is None
