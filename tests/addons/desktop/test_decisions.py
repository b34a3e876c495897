"""The memory of the last decisions."""

from __future__ import annotations

from addons.desktop.decisions import Decisions
from tests.addons.accounts import clean, refused


def test_the_newest_come_first_and_the_oldest_are_forgotten() -> None:
    """At most so many are remembered."""
    decisions, accounts = Decisions(capacity=3), [clean() for _ in range(5)]
    for account in accounts:
        decisions.note(account)
    assert decisions.latest() == accounts[:1:-1]
    assert decisions.latest(1) == accounts[-1:]
    assert decisions.find(accounts[0]["id"]) is None


def test_what_passes_does_not_push_out_what_was_refused() -> None:
    """The id of a block page is found for as long as there are not too many refusals."""
    decisions, account = Decisions(capacity=3), refused()
    decisions.note(account)
    for _ in range(10):
        decisions.note(clean())
    assert decisions.find(account["id"]) == account
    assert decisions.latest(refused=True) == [account]


def test_everything_is_counted() -> None:
    """Counts go on where the memory ends."""
    decisions = Decisions(capacity=1)
    for account in (clean(), clean(), refused(), clean(status=None)):
        decisions.note(account)
    assert decisions.counts == {"free": 2, "found": 1, None: 1}
    assert decisions.refusals == 1
