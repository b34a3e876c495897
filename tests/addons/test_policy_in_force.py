"""Policies that take one another's place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from addons.gateway import HttpGateway
from addons.policy_in_force import HttpPolicyInForce, choose_proxy
from addons.wire.receiver import Receiver
from inspection import checkpoint
from inspection.quarantine import QuarantineError
from policy.load import PolicyError
from policy.model import Policy
from scanners.antivirus import Antivirus
from scanners.registry import open_antivirus
from tests.policy.policies import make_policy

POLICY = """\
antivirus:
  AV: {{protocol: builtin}}
audit: {{to: {audit}}}
http-proxy:
  {name}:
    doc-acl: [{{name: ALL, antivirus: AV}}]
"""


class Reloads:
    """One addon's life, as far as its policies go."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder = folder / "policy.yaml", folder
        self.announced: list[HttpGateway] = []
        self.failed = 0
        self.in_force = HttpPolicyInForce(lambda flow, upload: Receiver(None, flow.client_conn), self.announced.append)

    async def load(self, name: str, audit: str = "audit.jsonl") -> None:
        self.file.write_text(POLICY.format(name=name, audit=self.folder / audit))
        self.in_force.read(str(self.file), "")
        self.in_force.open(or_else=self._fail)
        await self.quiet()

    async def quiet(self) -> None:
        while tasks := list(self.in_force._tasks):
            await asyncio.wait(tasks)

    def _fail(self) -> None:
        self.failed += 1


@pytest.fixture
def reloads(tmp_path: Path) -> Reloads:
    return Reloads(tmp_path)


async def end(reloads: Reloads) -> None:
    reloads.in_force.close()
    await reloads.quiet()
    assert not [t for t in threading.enumerate() if t.name == "audit"]


async def test_the_second_policy_takes_the_place_of_the_first(reloads: Reloads) -> None:
    """One gateway is in force at a time, and the log stays the same while its target does."""
    await reloads.load("ONE")
    audit = reloads.in_force._audit
    await reloads.load("TWO")
    assert [gateway.name for gateway in reloads.announced] == ["http-proxy.ONE", "http-proxy.TWO"]
    assert reloads.in_force.gateway is reloads.announced[1]
    assert reloads.in_force._audit is audit
    await end(reloads)


async def test_a_new_log_takes_nothing_from_the_old_one(reloads: Reloads) -> None:
    """The old gateway's log is closed when nobody writes to it any more."""
    await reloads.load("ONE", "one.jsonl")
    await reloads.load("TWO", "two.jsonl")
    assert sum(t.name == "audit" for t in threading.enumerate()) == 1
    await end(reloads)


async def test_a_policy_that_cannot_be_opened_changes_nothing(
    reloads: Reloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old gateway stays, its log is not closed, and what was opened of the new one is closed again."""
    await reloads.load("ONE", "one.jsonl")
    first, audit = reloads.in_force.gateway, reloads.in_force._audit

    closed: list[str] = []

    async def fail(self: HttpGateway) -> None:
        raise QuarantineError(13, "no")

    close = HttpGateway.close

    async def note(self: HttpGateway, patience: float = 30.0) -> None:
        closed.append(self.name)
        await close(self, patience)

    monkeypatch.setattr(HttpGateway, "open", fail)
    monkeypatch.setattr(HttpGateway, "close", note)
    await reloads.load("TWO", "two.jsonl")
    assert (reloads.in_force.gateway, reloads.in_force._audit, reloads.failed) == (first, audit, 1)
    assert closed == ["http-proxy.TWO"]
    assert sum(t.name == "audit" for t in threading.enumerate()) == 1
    await end(reloads)


async def test_a_policy_that_does_not_load_changes_nothing(reloads: Reloads) -> None:
    """A broken file is told at once."""
    await reloads.load("ONE")
    first = reloads.in_force.gateway
    reloads.file.write_text("http-proxy: 7")
    with pytest.raises(PolicyError):
        reloads.in_force.read(str(reloads.file), "")
    reloads.in_force.open()
    await reloads.quiet()
    assert reloads.in_force.gateway is not None
    assert reloads.in_force.gateway.name == (first.name if first else "")
    await end(reloads)


async def test_engines_that_take_long_to_be_opened_stop_no_traffic(
    reloads: Reloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While rules are compiled the loop goes on, and the old policy is in force."""
    await reloads.load("ONE")
    first, opening, done = reloads.in_force.gateway, threading.Event(), threading.Event()

    def open_slowly(policy: Policy, names: Iterable[str]) -> dict[str, Antivirus]:
        opening.set()
        assert done.wait(10)  # on the loop nobody could end this
        return open_antivirus(policy, names)

    monkeypatch.setattr(checkpoint, "open_antivirus", open_slowly)
    reloads.file.write_text(POLICY.format(name="TWO", audit=reloads.folder / "audit.jsonl"))
    reloads.in_force.read(str(reloads.file), "")
    reloads.in_force.open()
    await asyncio.to_thread(opening.wait, 10)
    assert reloads.in_force.gateway is first
    done.set()
    await reloads.quiet()
    assert reloads.in_force.gateway is reloads.announced[1]
    await end(reloads)


async def test_a_gateway_that_opens_too_late_is_closed(reloads: Reloads) -> None:
    """An addon that is gone puts nothing in force any more."""
    reloads.file.write_text(POLICY.format(name="ONE", audit=reloads.folder / "audit.jsonl"))
    reloads.in_force.read(str(reloads.file), "")
    reloads.in_force.open()
    reloads.in_force.close()
    await reloads.quiet()
    assert reloads.in_force.gateway is None
    assert reloads.announced == []
    await end(reloads)


def test_the_proxy_is_chosen_by_name_or_alone() -> None:
    """Several enabled proxies need a name, and what there is is told."""
    one = {"doc-acl": [{"name": "ALL", "antivirus": "A"}]}
    policy = make_policy(http_proxy={"X": one, "Y": one, "Z": {**one, "enabled": False}})
    assert choose_proxy(policy, "Y")[0] == "Y"
    for wanted in ("", "Z", "Q"):
        with pytest.raises(LookupError, match="X, Y"):
            choose_proxy(policy, wanted)
    assert choose_proxy(make_policy(http_proxy={"X": one}), "")[0] == "X"
