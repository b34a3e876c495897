"""One pop3-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; certificates are read when it is made,
so that a bad one is told before anything changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.pop3.server import Route
from mailgw.smtp.next_hop import make_context
from mailgw.smtp.site import make_server_context
from policy.decide import choose_command_acl
from policy.facts import SessionFacts
from policy.model import Policy, Pop3Proxy
from policy.model.mail_acl import Pop3CommandAcl


@dataclass(frozen=True, slots=True)
class Permit:
    """What the command-acl `acl` says of a session: the antiviruses that are asked, None where mail is not scanned."""

    acl: str
    engines: tuple[str, ...] | None


class Pop3Site:
    """Fulfils `inspection.policy_in_force.Gateway`. Blocks while it is made: rules, lists, certificates are read."""

    def __init__(self, policy: Policy, name: str, proxy: Pop3Proxy, audit: AuditLog) -> None:
        self.name = f"pop3-proxy.{name}"
        self.proxy = proxy
        self.checkpoint = Checkpoint(policy, self.name, proxy, audit)
        self.tls = make_server_context(proxy.tls)
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

    def permit(self, client: str | None, user: str | None, server: str) -> Permit | None:
        """What the first matching command-acl says; None: there is none, and the session is refused."""
        facts = SessionFacts(client=client, user=user, server=server, at=datetime.now().astimezone())
        acl = choose_command_acl(self.proxy, facts).acl
        if not isinstance(acl, Pop3CommandAcl):
            return None
        return Permit(acl.name, None if acl.no_mail_scanning else tuple(acl.use_antivirus or ()))

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing, QuarantineError."""
        await self.checkpoint.open()

    async def close(self, patience: float = 30.0) -> None:
        """Let mails under way end, for `patience` seconds at the most, then let everything go."""
        await self.checkpoint.close(patience)

    def cut(self) -> None:
        """End every mail under way, at once."""
        self.checkpoint.cut()
