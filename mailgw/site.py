"""One mail gateway of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; certificates are read when it is made,
so that a bad one is told before anything changes; it knows no protocol.
"""

from __future__ import annotations

import ssl

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.channel import Channel, StartTlsFault
from mailgw.far_side import make_route
from policy.model import MailProxy, Policy
from policy.model.gateway import Tls


class MailSite[P: MailProxy]:
    """Fulfils `inspection.policy_in_force.Gateway`. Blocks while it is made: rules, lists, certificates are read."""

    def __init__(self, policy: Policy, label: str, proxy: P, audit: AuditLog) -> None:
        self.name = label
        self.proxy = proxy
        self.checkpoint = Checkpoint(policy, label, proxy, audit)
        self.tls = _make_context(proxy.tls)
        self.route = make_route(proxy)

    @property
    def banners(self) -> list[str]:
        """What everybody must be told at the start."""
        return self.checkpoint.banners

    @property
    def implicit_tls(self) -> bool:
        """Clients speak TLS from the first octet."""
        return self.proxy.tls.mode == "implicit"

    @property
    def starttls(self) -> bool:
        """Clients may ask for TLS."""
        return self.proxy.tls.mode == "starttls" and self.tls is not None

    async def start_tls(self, channel: Channel) -> None:
        """Speak TLS with a client from here on. Raises StartTlsFault."""
        if self.tls is None:
            raise StartTlsFault("TLS without a certificate")
        await channel.start_tls(self.tls, server_side=True, within=self.proxy.limits.header)

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing, QuarantineError."""
        await self.checkpoint.open()

    async def close(self, patience: float = 30.0) -> None:
        """Let what is under way end, for `patience` seconds at the most, then let everything go."""
        await self.checkpoint.close(patience)

    def cut(self) -> None:
        """End everything under way, at once."""
        self.checkpoint.cut()


def _make_context(tls: Tls) -> ssl.SSLContext | None:
    """For clients; None where there is no TLS. Raises OSError, ssl.SSLError. Blocks."""
    if tls.mode == "none" or tls.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(tls.certificate), str(tls.key) if tls.key else None)
    return context
