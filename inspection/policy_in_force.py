"""Which policy is in force in a gateway, and how another one takes its place.

Rules of this file: a policy is in force once its engines were asked to prove themselves; one that does not open
changes nothing; the old gateway ends its transfers under the policy that they began with.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inspection.audit import AuditLog
from inspection.metrics import METRICS
from inspection.metrics_server import SERVER
from policy.model import Policy

logger = logging.getLogger(__name__)


class Gateway(Protocol):
    """One gateway of one loaded policy."""

    name: str

    @property
    def banners(self) -> list[str]:
        """What everybody must be told at the start."""

    async def open(self) -> None:
        """Prove the engines. Raises where it cannot be put in force."""

    async def close(self, patience: float = 30.0) -> None:
        """Let what is under way end, for so many seconds at the most, then let everything go."""

    def cut(self) -> None:
        """End everything under way, at once."""


@dataclass(frozen=True, slots=True)
class Loaded[G: Gateway]:
    """What was read and is good. `make` makes the gateway; it is called in a thread, for it may take minutes."""

    file: Path
    policy: Policy
    make: Callable[[AuditLog], G]


class PolicyInForce[G: Gateway]:
    """Holds the gateway in force. `gateway` is None until the first one is open; then nothing passes.

    `announce` is called with each one that comes in force; `default_audit` is where records go where the policy does
    not say."""

    def __init__(self, announce: Callable[[G], None], default_audit: str = "stderr") -> None:
        self.gateway: G | None = None
        self.file: Path | None = None  # the policy's, of the gateway in force
        self._default_audit = default_audit
        self._announce = announce
        self._audit: AuditLog | None = None
        self._audit_target: object = None
        self._retiring: set[G] = set()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def put(self, loaded: Loaded[G], or_else: Callable[[], None] | None = None) -> asyncio.Task[None]:
        """Put it in force, in the background; `or_else` is called where that fails. The task ends when the gateway is
        in force and the old one is closed; nobody needs to wait for it."""
        return self._spawn(self._open(loaded, or_else))

    async def _open(self, loaded: Loaded[G], or_else: Callable[[], None] | None) -> None:
        async with self._turn:
            try:
                audit = self._open_audit(loaded.policy)
                gateway = await self._open_gateway(loaded, audit)
            except Exception as error:
                logger.error("antivirus: the policy cannot be put in force: %s", _words(error))
                if or_else is not None:
                    or_else()
                return
            if self._closed:
                SERVER.release(self)
                await self._retire(gateway, audit, patience=0)
                return
            old, old_audit = self.gateway, self._audit
            self.gateway, self._audit, self._audit_target = gateway, audit, self._target(loaded.policy)
            self.file = loaded.file
            audit.observe = METRICS.count if loaded.policy.metrics.listen is not None else None
            for banner in gateway.banners:
                print(banner, file=sys.stderr, flush=True)
            self._announce(gateway)
        if old is not None:
            await self._retire(old, old_audit if old_audit is not audit else None)

    async def _open_gateway(self, loaded: Loaded[G], audit: AuditLog) -> G:
        """Nothing is left open where this fails."""
        try:
            # In a thread: rules are compiled and lists are read, which may take minutes that traffic does not have.
            gateway = await asyncio.to_thread(loaded.make, audit)
            try:
                await gateway.open()
                await SERVER.hold(self, loaded.policy.metrics.listen)
            except BaseException:
                await gateway.close(patience=0)
                raise
        except BaseException:
            if audit is not self._audit:
                await asyncio.to_thread(audit.close)
            raise
        return gateway

    def _open_audit(self, policy: Policy) -> AuditLog:
        """One log as long as the target stays; a new target does not take the old log from who still writes there."""
        if self._audit is not None and self._audit_target == self._target(policy):
            self._audit.reopen()
            return self._audit
        return AuditLog(self._target(policy))

    async def _retire(self, gateway: G, audit: AuditLog | None, patience: float = 30.0) -> None:
        """Let a gateway end its transfers, then close it, and the log that nobody writes to any more."""
        self._retiring.add(gateway)
        try:
            await gateway.close(patience)
        finally:
            self._retiring.discard(gateway)
        if audit is not None:
            await asyncio.to_thread(audit.close)

    def cut(self) -> None:
        """End every transfer under way, at once; each is recorded."""
        for gateway in (*self._retiring, *([self.gateway] if self.gateway else [])):
            gateway.cut()

    def close(self) -> None:
        """Nothing is in force any more; transfers under way are cut, and recorded before this returns."""
        self._closed = True
        SERVER.release(self)
        self.cut()
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            self._spawn(gateway.close(patience=0))
        if self._audit is not None:
            self._audit.close()
            self._audit = None

    def _target(self, policy: Policy) -> str | Path:
        return policy.audit.to or self._default_audit

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Held here until done, so that nobody collects it half-way."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _words(error: BaseException) -> str:
    """A group says nothing by itself: its members do."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(member) for member in error.exceptions)
    return str(error) or repr(error)
