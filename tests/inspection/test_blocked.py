"""What was cut is refused at once when it is asked for again."""

from __future__ import annotations

import pytest

from inspection.blocked import BlockedMemory
from inspection.inspect_object import Inspection
from policy.decision import Action, Decision
from policy.verdict import ScanReport, Status

KEY = ("GET", "http://a/b", '"1"', None)
ID = "i" * 20


def judged(status: Status | None, action: Action = Action.DENY) -> Inspection:
    return Inspection(status=status, decision=Decision(action=action))


def report(version: str) -> ScanReport:
    return ScanReport(antivirus="A", protocol="icap", status=Status.FREE, version=version)


@pytest.mark.parametrize(
    ("inspection", "remembered"),
    [
        (judged(Status.FOUND), True),
        (judged(Status.SKIPPED), True),
        (judged(Status.UNKNOWN), True),
        (judged(Status.ERROR), False),
        (judged(None), False),
        (judged(Status.FOUND, Action.ACCEPT), False),
    ],
)
def test_what_was_cut_is_remembered(inspection: Inspection, remembered: bool) -> None:
    """Found, skipped and unknown; never an error, nor what passed."""
    blocked = BlockedMemory(600)
    blocked.remember(KEY, ID, inspection)
    assert (blocked.recall(KEY) is not None) is remembered


def test_another_version_is_another_object() -> None:
    """The whole key names the object."""
    blocked = BlockedMemory(600)
    blocked.remember(KEY, ID, judged(Status.FOUND))
    assert blocked.recall((*KEY[:2], '"2"', None)) is None
    assert blocked.recall((KEY[0], "http://a/c", *KEY[2:])) is None


def test_an_engine_that_learned_is_asked_again() -> None:
    """A new version forgets all, the same one or an unknown one nothing."""
    blocked = BlockedMemory(600)
    blocked.notice_versions([report("1")])
    blocked.remember(KEY, ID, judged(Status.FOUND))
    blocked.notice_versions([report("1"), report("")])
    assert blocked.recall(KEY)
    blocked.notice_versions([report("2")])
    assert blocked.recall(KEY) is None
