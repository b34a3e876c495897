"""An engine without sockets, whose every answer the test decides; for virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from policy.verdict import Coverage, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.endpoint import Endpoint, Terms
from scanners.engine import Answer, Body
from scanners.pool import Pool
from scanners.specimens import EICAR

FREE = Answer(Status.FREE)
FOUND = Answer(Status.FOUND, virus="Eicar")
BROKEN = Answer(Status.ERROR, detail="broken")


@dataclass
class ScriptedEngine:
    """Finds EICAR at the end of an object of at most `limit` bytes; `answer`, if set, comes before that."""

    limit: int = 1 << 40
    anchored: bool = False
    seconds: float = 0.0
    answer: Callable[[Body], Answer | None] = lambda body: None
    told_version: str = "Scripted 1"
    asked: list[int] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    closed: bool = False

    protocol = "clamav-net"
    coverage = Coverage.FULL
    limit_setting = "Limit in scripted.conf"

    def __str__(self) -> str:
        return "the scripted engine"

    async def ask(self, body: Body) -> Answer:
        self.asked.append(body.size)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
            return self.answer(body) or self._scan(body)
        finally:
            self.under_way -= 1

    def _scan(self, body: Body) -> Answer:
        if body.size > self.limit:
            return FREE
        tail = body.read(max(0, body.size - 2048), 2048)
        seen = body.read(0, len(EICAR)) == EICAR or body.read(257, 5) == b"ustar"
        return FOUND if EICAR in tail and (seen or not self.anchored) else FREE

    async def version(self) -> str:
        return self.told_version

    async def close(self) -> None:
        self.closed = True


class ScriptedBuiltin(ScriptedEngine):
    """Stands for the built-in engine, whose threads know nothing of virtual time."""

    protocol = "builtin"
    coverage = Coverage.TEST_SIGNATURES


def terms(*, most: int = 100 << 20, timeout: float = 30.0, canary: float | None = 30.0, concurrency: int = 8) -> Terms:
    """Terms with the policy's defaults."""
    return Terms(max_checked_size=most, timeout=timeout, canary=canary, concurrency=concurrency)


def make_antivirus(*endpoints: Endpoint, timeout: float = 30.0, most: int = 100 << 20) -> Antivirus:
    """An antivirus over these endpoints."""
    return Antivirus("AV", Pool(endpoints), timeout=timeout, max_checked_size=most)


def after_start(answer: Answer) -> Callable[[Body], Answer | None]:
    """Probes are answered honestly, everything else with `answer`."""

    def decide(body: Body) -> Answer | None:
        probe = EICAR in body.read(max(0, body.size - 2048), 2048)
        return None if probe else answer

    return decide


CLEAN = MemoryBody(b"nothing to see")
INFECTED = MemoryBody(EICAR)
