"""What one gateway of one loaded policy checks with: engines, room to spool, quarantine, the memory of what was cut.

Rules of this file: it belongs to one policy for life, a reload makes a new one; what it opened it closes once its
last transfer has ended; it knows no protocol.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from inspection.audit import AuditLog
from inspection.blocked import BlockedMemory
from inspection.metrics import METRICS, Metrics
from inspection.quarantine import Quarantine, QuarantineError
from inspection.spool import SpoolRoom
from inspection.under_way import tell_all
from policy.model import Policy
from policy.model.gateway import Gateway
from scanners.registry import open_antivirus

logger = logging.getLogger(__name__)

EXPIRE_EVERY = 3600.0  # seconds between two looks for entries of the quarantine that are too old


class Closable(Protocol):
    """Something under way that can be ended at once."""

    def close(self) -> None:
        """End it, visibly to its peers, and have it recorded. May be called twice."""


class Checkpoint[G: Gateway]:
    """`label` is the gateway's, e.g. `ftp-proxy.FTP`, and `proxy` its section of `policy`.

    Making one may block for long (rules are compiled, lists are read): do it in a thread."""

    def __init__(self, policy: Policy, label: str, proxy: G, audit: AuditLog) -> None:
        self.name = label
        self.policy = policy
        self.proxy = proxy
        self.audit = audit
        self._under_way: set[Closable] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._expiry: asyncio.Task[None] | None = None
        spool = policy.spool
        self.room = SpoolRoom(
            spool.directory, memory=spool.memory, max_object=spool.max_object, max_total=spool.max_total
        )
        self.antiviruses = open_antivirus(policy, sorted(proxy.engine_names()))
        self.quarantine = _open_quarantine(policy, proxy)
        self.blocked = BlockedMemory(policy.blocked_memory)
        self.metrics: Metrics | None = METRICS if policy.metrics.listen is not None else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.under_way} under way>"

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing where the policy demands one that is not there, and
        QuarantineError where the quarantine cannot be written."""
        if self.quarantine is not None:
            await asyncio.to_thread(self.quarantine.open)
        async with asyncio.TaskGroup() as tasks:
            for antivirus in self.antiviruses.values():
                tasks.create_task(antivirus.start())
        if self.metrics is not None:
            self.metrics.watch(self)
        if self.quarantine is not None:
            self._expiry = asyncio.get_running_loop().create_task(expire_regularly(self.quarantine))

    async def close(self, patience: float = 30.0) -> None:
        """Let what is under way end, for `patience` seconds at the most, then let everything go."""
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            self.cut()
        METRICS.watched.discard(self)
        if self._expiry is not None:
            self._expiry.cancel()
        for antivirus in self.antiviruses.values():
            await antivirus.close()
        if self.quarantine is not None:
            await asyncio.to_thread(self.quarantine.close)

    def cut(self) -> None:
        """End everything under way, at once; each is recorded."""
        for work in list(self._under_way):
            work.close()

    def enter(self, work: Closable) -> None:
        """Something is under way that this is not closed under, until `leave`."""
        self._under_way.add(work)
        self._idle.clear()

    def leave(self, work: Closable) -> None:
        """It has ended. May be called twice."""
        self._under_way.discard(work)
        if not self._under_way:
            self._idle.set()

    @property
    def under_way(self) -> int:
        """How many have entered and not left."""
        return len(self._under_way)

    def tell(self) -> list[dict[str, Any]]:
        """What is under way, as plain data."""
        return tell_all(self.name, self._under_way)

    @property
    def banners(self) -> list[str]:
        """What everybody must be told at the start."""
        return [a.banner for a in self.antiviruses.values() if a.banner]


async def expire_regularly(quarantine: Quarantine) -> None:
    """Have what is too old removed, hour by hour, until cancelled."""
    while True:
        await asyncio.sleep(EXPIRE_EVERY)
        try:
            await asyncio.to_thread(quarantine.expire)
        except QuarantineError as error:
            logger.error("antivirus: the quarantine's old entries could not be removed: %s", error)


def _open_quarantine(policy: Policy, proxy: Gateway) -> Quarantine | None:
    section = proxy.quarantine if proxy.quarantine is not None else policy.quarantine
    if section.directory is None or not proxy.keeps():
        return None
    return Quarantine(section.directory, max_age=section.max_age, max_size=section.max_size, on_full=section.on_full)
