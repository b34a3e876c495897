"""The walk of one object, with an engine that says what the test wants."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from inspection.inspect_object import Inspector, Subject
from inspection.quarantine import Quarantine, QuarantineFull
from policy.decision import Action, Reason
from policy.facts import ObjectFacts
from policy.verdict import Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from tests.addons.bodies import PatientEngine, acl
from tests.policy.policies import make_http

FACTS = ObjectFacts(url="http://o/?secret", filename="a.zip")
SUBJECT = Subject(id="0" * 20, session="s", facts=FACTS)
BODY = MemoryBody(b"data")


class Shelf:
    """A quarantine that keeps, or has no room."""

    def __init__(self, full: bool = False) -> None:
        self.kept: list[dict[str, Any]] = []
        self._full = full

    async def keep(self, entry: str, body: MemoryBody, metadata: dict[str, Any]) -> str:
        if self._full:
            raise QuarantineFull(28, "full")
        self.kept.append(metadata)
        return entry


def make(*acls: dict[str, Any], shelf: Shelf | None = None) -> tuple[Inspector, PatientEngine]:
    engine = PatientEngine(most=10)
    proxy = make_http(*(acls or (acl(),)))
    return Inspector("http-proxy.T", proxy, {"A": cast(Antivirus, engine)}, cast(Quarantine, shelf)), engine


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        (Status.FREE, Action.ACCEPT, None),
        (Status.FOUND, Action.DENY, Reason.VIRUS_FOUND),
        (Status.SKIPPED, Action.DENY, Reason.ANTIVIRUS_STATUS),
        (Status.UNKNOWN, Action.DENY, Reason.ANTIVIRUS_STATUS),
        (Status.ERROR, Action.DENY, Reason.ANTIVIRUS_ERROR),
    ],
)
async def test_only_free_passes_by_itself(status: Status, action: Action, reason: Reason | None) -> None:
    """Each status ends in its decision."""
    inspector, engine = make()
    engine.say(status)
    inspection = await inspector.inspect(SUBJECT, inspector.choose(FACTS), BODY)
    assert (inspection.status, inspection.decision.action, inspection.decision.reason) == (status, action, reason)
    assert inspection.virus == ("Eicar" if status is Status.FOUND else None)


@pytest.mark.parametrize("status", [Status.FOUND, Status.UNKNOWN, Status.SKIPPED, Status.ERROR, Status.FREE])
async def test_what_is_blocked_as_what_it_is_is_kept(status: Status) -> None:
    """The quarantine gets what was judged and blocked, never an error, never what passes."""
    shelf = Shelf()
    inspector, engine = make(acl(quarantine=True), shelf=shelf)
    engine.say(status)
    inspection = await inspector.inspect(SUBJECT, inspector.choose(FACTS), BODY)
    kept = status not in (Status.ERROR, Status.FREE)
    assert (inspection.quarantine is not None) is kept
    assert len(shelf.kept) == kept


async def test_a_full_quarantine_lets_nothing_pass() -> None:
    """What could not be kept is blocked all the same, without an entry."""
    inspector, engine = make(acl(quarantine=True), shelf=Shelf(full=True))
    engine.say(Status.FOUND)
    inspection = await inspector.inspect(SUBJECT, inspector.choose(FACTS), BODY)
    assert (inspection.quarantine, inspection.decision.passes) == (None, False)


async def test_a_crash_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours in the check is an error of that object."""
    inspector, _ = make()

    async def crash(*args: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("inspection.inspect_object.check_document", crash)
    inspection = await inspector.inspect(SUBJECT, inspector.choose(FACTS), BODY)
    assert (inspection.status, inspection.decision.passes) == (Status.ERROR, False)


async def test_a_deny_needs_no_engine() -> None:
    """An ACL that denies names no engine that would be asked, and nothing is skipped by it."""
    inspector, _ = make(acl(action="deny"))
    choice = inspector.choose(FACTS)
    assert inspector.engines(choice) == ()
    assert not inspector.skips(choice, 1000)
    assert inspector.judge(choice, None).decision.reason is Reason.ACL


async def test_what_every_engine_skips_is_told_beforehand() -> None:
    """The size alone says so, one byte above the limit."""
    inspector, _ = make()
    choice = inspector.choose(FACTS)
    assert [inspector.skips(choice, size) for size in (10, 11)] == [False, True]


async def test_cancelling_ends_the_check() -> None:
    """An inspection that is given up leaves no check under way."""
    inspector, engine = make()
    task = asyncio.get_running_loop().create_task(inspector.inspect(SUBJECT, inspector.choose(FACTS), BODY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.under_way == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.under_way == 0
