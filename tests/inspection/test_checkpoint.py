"""What a gateway checks with, from its opening to its end."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint, expire_regularly
from inspection.quarantine import Quarantine, QuarantineError
from policy.model.gateway import Gateway
from tests.policy.policies import make_policy

ACL = {"name": "ALL", "antivirus": "A"}


def make(kind: str = "ftp-proxy", **more: Any) -> Checkpoint[Gateway]:
    section = {"listen": "127.0.0.1:0", "server": "127.0.0.1:21", "doc-acl": [ACL], **more}
    data = {kind: {"X": section}, "antivirus": {"A": {"protocol": "builtin"}}}
    policy = make_policy(**{name.replace("-", "_"): value for name, value in data.items()})
    ((label, proxy),) = policy.gateways()
    return Checkpoint(policy, label, proxy, cast(AuditLog, None))


class Work:
    """Something under way; where it heeds, being closed ends it."""

    def __init__(self, checkpoint: Checkpoint[Gateway], *, heeds: bool = True) -> None:
        self.closed = 0
        self._checkpoint, self._heeds = checkpoint, heeds
        checkpoint.enter(self)

    def close(self) -> None:
        self.closed += 1
        if self._heeds:
            self._checkpoint.leave(self)


@pytest.mark.looptime
async def test_it_waits_for_what_is_under_way() -> None:
    """Closing returns as soon as the last transfer has left, and nothing was cut."""
    checkpoint = make(**{"doc-acl": [{"name": "UNCHECKED"}]})  # an engine has times of its own
    await checkpoint.open()
    work = Work(checkpoint)
    loop = asyncio.get_running_loop()
    loop.call_later(7, checkpoint.leave, work)
    began = loop.time()
    await checkpoint.close(30)
    assert (loop.time() - began, work.closed, checkpoint.under_way) == (7, 0, 0)


@pytest.mark.looptime
async def test_what_is_under_way_too_long_is_cut() -> None:
    """After the patience everything is ended, once; no transfer can hold a policy for ever."""
    checkpoint = make(**{"doc-acl": [{"name": "UNCHECKED"}]})  # an engine has times of its own
    await checkpoint.open()
    works = [Work(checkpoint), Work(checkpoint, heeds=False)]
    began = asyncio.get_running_loop().time()
    await checkpoint.close(30)
    assert asyncio.get_running_loop().time() - began == 30
    assert [work.closed for work in works] == [1, 1]


def test_its_engines_are_those_that_its_acls_name() -> None:
    """Engines of other gateways are not opened."""
    assert list(make(**{"doc-acl": [ACL, {"name": "B"}]}).antiviruses) == ["A"]


MAIL = {"mail-acl": [{"name": "M", "action": "accept"}], "doc-acl": [{"name": "D", "action": "accept"}]}


@pytest.mark.parametrize(
    ("kind", "more", "names"),
    [
        ("http-proxy", {"doc-acl": [{"name": "D", "antivirus": ["A"]}]}, {"A"}),
        ("smtp-proxy", {**MAIL, "use-antivirus": "A"}, {"A"}),
        ("smtp-proxy", {"no-mail-scanning": True}, set()),
        ("pop3-proxy", {**MAIL, "command-acl": [{"name": "C", "use-antivirus": ["A"]}]}, {"A"}),
        ("imap4-proxy", {**MAIL, "command-acl": [{"name": "C", "use-antivirus": {"upload": "A"}}]}, {"A"}),
    ],
)
def test_every_kind_names_its_engines(kind: str, more: dict[str, Any], names: set[str]) -> None:
    """The chapter's five kinds say it in three ways."""
    section = {"listen": "127.0.0.1:0", "server": "127.0.0.1:25", **more}
    ((_, proxy),) = make_policy(**{kind.replace("-", "_"): {"X": section}}).gateways()
    assert proxy.engine_names() == names


@pytest.mark.looptime
async def test_the_quarantine_is_looked_through_hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries go without anybody asking, and a disk that fails then stops nothing."""
    looked: list[float] = []

    async def at_once(work: Any) -> None:
        looked.append(asyncio.get_running_loop().time())
        if len(looked) == 1:
            raise QuarantineError(5, "broken")

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    quarantine = Quarantine.__new__(Quarantine)
    task = asyncio.get_running_loop().create_task(expire_regularly(quarantine))
    await asyncio.sleep(3 * 3600 + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert looked == [3600, 7200, 10800]
