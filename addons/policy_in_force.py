"""Which policy is in force, and how another one takes its place.

Rules of this file: a policy is in force once its engines were asked to prove themselves; one that does not load or
open changes nothing; the old gateway ends its transfers under the policy that they began with.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from addons.block_page import check_template
from addons.desk import Desk
from addons.gateway import HttpGateway, Receivers
from inspection.audit import AuditLog
from policy.load import default_policy_path, load
from policy.model import HttpProxy, Policy

logger = logging.getLogger(__name__)


def choose_proxy(policy: Policy, wanted: str) -> tuple[str, HttpProxy]:
    """The http-proxy of that name, or the only enabled one. LookupError tells what there is."""
    enabled = {name: proxy for name, proxy in policy.http_proxy.items() if proxy.enabled}
    if not wanted and len(enabled) == 1:
        return next(iter(enabled.items()))
    if wanted in enabled:
        return wanted, enabled[wanted]
    there = ", ".join(enabled) or "none"
    if not wanted:
        raise LookupError(f"av_proxy: choose one of the enabled http-proxies with --set av_proxy=NAME: {there}")
    raise LookupError(f"av_proxy: no enabled http-proxy is called {wanted!r}; there are: {there}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read and is good: one http-proxy of a policy, and its block page."""

    file: Path
    policy: Policy
    name: str
    proxy: HttpProxy
    template: str | None


class PolicyInForce:
    """Holds the gateway in force. `gateway` is None until the first one is open; then nothing passes."""

    def __init__(
        self,
        receivers: Receivers,
        announce: Callable[[HttpGateway], None],
        desk: Desk | None = None,
        default_audit: str = "stderr",
    ) -> None:
        self.gateway: HttpGateway | None = None
        self.file: Path | None = None  # the policy's, of the gateway in force
        self._desk = desk
        self._default_audit = default_audit
        self._receivers = receivers
        self._announce = announce
        self._loaded: Loaded | None = None
        self._audit: AuditLog | None = None
        self._audit_target: object = None
        self._retiring: set[HttpGateway] = set()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def read(self, path: str, wanted: str, page: str = "") -> None:
        """Load the policy and the block page (empty: the shipped ones).

        Raises PolicyError, LookupError or TemplateError and changes nothing then."""
        template = check_template(Path(page).expanduser()) if page else None
        file = Path(path).expanduser() if path else default_policy_path()
        policy = load(file)
        name, proxy = choose_proxy(policy, wanted)
        self._loaded = Loaded(file.absolute(), policy, name, proxy, template)

    def open(self, or_else: Callable[[], None] | None = None) -> None:
        """Put what was read in force, in the background; `or_else` is called where that fails."""
        if self._loaded is not None:
            self._spawn(self._open(self._loaded, or_else))

    async def _open(self, loaded: Loaded, or_else: Callable[[], None] | None) -> None:
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
                await self._retire(gateway, audit, patience=0)
                return
            old, old_audit = self.gateway, self._audit
            self.gateway, self._audit, self._audit_target = gateway, audit, self._target(loaded.policy)
            self.file = loaded.file
            for banner in gateway.banners:
                print(banner, file=sys.stderr, flush=True)
            self._announce(gateway)
        if old is not None:
            await self._retire(old, old_audit if old_audit is not audit else None)

    async def _open_gateway(self, loaded: Loaded, audit: AuditLog) -> HttpGateway:
        """Nothing is left open where this fails."""
        try:
            # In a thread: rules are compiled and lists are read, which may take minutes that traffic does not have.
            gateway = await asyncio.to_thread(
                HttpGateway,
                loaded.policy,
                loaded.name,
                loaded.proxy,
                audit=audit,
                receivers=self._receivers,
                template=loaded.template,
                desk=self._desk,
            )
            try:
                await gateway.open()
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

    async def _retire(self, gateway: HttpGateway, audit: AuditLog | None, patience: float = 30.0) -> None:
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
        self.cut()
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            self._spawn(gateway.close(patience=0))
        if self._audit is not None:
            self._audit.close()
            self._audit = None

    def _target(self, policy: Policy) -> str | Path:
        return policy.audit.to or self._default_audit

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Held here until done, so that nobody collects it half-way."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _words(error: BaseException) -> str:
    """A group says nothing by itself: its members do."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(member) for member in error.exceptions)
    return str(error) or repr(error)
