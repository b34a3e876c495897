"""Transfers without a proxy around them: an engine that answers when the test says so, and a peer that takes all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from mitmproxy import http

from addons.body.codings import Coding
from addons.body.steps import Cut, Finish, HandOver, Release, Step, Whole
from addons.body.transfer import Transfer, Way
from addons.wire.receiver import Receiver, ReceiverStuck
from inspection.inspect_object import Inspector, Subject
from inspection.spool import SpoolRoom
from policy.facts import ObjectFacts
from policy.verdict import Coverage, ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.engine import Body
from tests.policy.policies import make_http

PLAIN = Coding((), passthrough=True)
GZIP = Coding(("gzip",), passthrough=True, header="gzip")
STACK = Coding(("gzip", "gzip"), passthrough=False)

TRICKLE = {"interval": 5, "chunk": 10, "limit": 30}


class PatientEngine:
    """Has no opinion until `say` is called. `seen` holds what it was given to check."""

    name, protocol, coverage = "A", "clamav-net", Coverage.FULL

    def __init__(self, most: int = 1 << 30) -> None:
        self.most = most
        self.seen: list[bytes] = []
        self.under_way = 0
        self._said: asyncio.Future[Status] = asyncio.get_running_loop().create_future()

    def say(self, status: Status) -> None:
        if not self._said.done():
            self._said.set_result(status)

    def skips(self, size: int) -> bool:
        return size > self.most

    async def check(self, body: Body) -> ScanReport:
        self.seen.append(body.read(0, body.size))
        self.under_way += 1
        try:
            status = await asyncio.shield(self._said)
        finally:
            self.under_way -= 1
        virus = "Eicar" if status is Status.FOUND else None
        return ScanReport(antivirus="A", protocol="clamav-net", status=status, virus=virus)


class WillingPeer:
    """Takes everything at once, or nothing any more."""

    stuck = False
    busy = False
    aborted = False

    async def drained(self, stall: float) -> None:
        if self.stuck:
            raise ReceiverStuck("stuck")

    @property
    def is_busy(self) -> bool:
        return self.busy

    def abort(self) -> None:
        self.aborted = True


class Bench:
    """Makes transfers under one ACL, and knows what became of them."""

    def __init__(
        self, *acls: dict[str, Any], most: int = 1 << 30, stall: float = 60, memory: int = 64, cap: int = 0
    ) -> None:
        self.engine = PatientEngine(most)
        self.peer = WillingPeer()
        self.room = SpoolRoom(memory=memory, max_object=cap or 1 << 24)
        proxy = make_http(*(acls or (acl(),)))
        self.inspector = Inspector("http-proxy.T", proxy, {"A": cast(Antivirus, self.engine)})
        self.ended: list[Step] = []
        self._stall = stall

    def make(self, coding: Coding = PLAIN, *, length: int | None = None, upload: bool = False, **rest: Any) -> Transfer:
        facts = ObjectFacts(direction="upload" if upload else "download", url="http://o/", method="GET", host="o")
        way = Way(
            inspector=self.inspector,
            room=self.room,
            stall=self._stall,
            page=lambda transfer: http.Response.make(403, b"refused"),
            receiver=lambda: cast(Receiver, self.peer),
            settled=lambda transfer: None,
            ended=lambda transfer, step: self.ended.append(step),
        )
        choice = self.inspector.choose(facts)
        subject = Subject(id="0" * 20, session="s", facts=facts)
        return Transfer(subject, choice, way, coding=coding, length=length, upload=upload, **rest)


def acl(**items: Any) -> dict[str, Any]:
    """An ACL that has everything checked."""
    return {"name": "ALL", "antivirus": "A", **{key.replace("_", "-"): value for key, value in items.items()}}


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(50):
        await asyncio.sleep(0)


async def now(transfer: Transfer) -> Step | None:
    """The step that is due at this very moment, or None."""
    task = asyncio.get_running_loop().create_task(transfer.next_step())
    await settle()
    if not task.done():
        task.cancel()
        return None
    return task.result()


async def take_all(transfer: Transfer, stop_after: Callable[[bytes], bool] = lambda out: False) -> tuple[bytes, Step]:
    """What leaves until the last step, which is carried out as the stream layer would."""
    out = b""
    while True:
        step = await transfer.next_step()
        match step:
            case Release(data):
                out += data
                continue
            case Whole(content):
                out += content
            case HandOver():
                out += transfer.rest()
            case Finish() | Cut() | _:
                pass
        transfer.close()
        return out, step
