"""One imap4-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; certificates are read when it is made,
so that a bad one is told before anything changes.
"""

from __future__ import annotations

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.imap.verdicts import VerdictMemory
from mailgw.smtp.next_hop import Route, make_context
from mailgw.smtp.site import KeptMails, make_server_context
from policy.model import Imap4Proxy, Policy


class ImapSite:
    """Fulfils `inspection.policy_in_force.Gateway`. Blocks while it is made: rules, lists, certificates are read."""

    def __init__(self, policy: Policy, name: str, proxy: Imap4Proxy, audit: AuditLog) -> None:
        self.name = f"imap4-proxy.{name}"
        self.proxy = proxy
        self.checkpoint = Checkpoint(policy, self.name, proxy, audit)
        self.tls = make_server_context(proxy.tls)
        self.kept = KeptMails()
        self.memory = VerdictMemory(policy.cache.free, policy.cache.entries)
        self.route = Route(
            servers=proxy.server,
            mode=proxy.server_tls.mode,
            context=make_context(proxy.server_tls),
            connect_within=proxy.limits.header,
            stall=proxy.limits.stall,
        )

    @property
    def banners(self) -> list[str]:
        """What everybody must be told at the start."""
        return self.checkpoint.banners

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing, QuarantineError."""
        await self.checkpoint.open()

    async def close(self, patience: float = 30.0) -> None:
        """Let commands under way end, for `patience` seconds at the most, then let everything go."""
        await self.checkpoint.close(patience)

    def cut(self) -> None:
        """End every command under way, at once."""
        self.checkpoint.cut()
