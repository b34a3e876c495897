"""One smtp-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; certificates are read when it is made,
so that a bad one is told before anything changes.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.smtp.next_hop import Route, make_context
from policy.model import Policy, SmtpProxy
from policy.model.gateway import Tls

_REMEMBERED = 1000


class KeptMails:
    """Mails that are in the quarantine already, though the client was told to try again: a bounded number."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def remember(self, key: tuple[object, ...], entry: str) -> None:
        """The mail of this key is kept as `entry`, and will come again."""
        self._ids[key] = entry
        self._ids.move_to_end(key)
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)

    def recall(self, key: tuple[object, ...]) -> str | None:
        """The entry of a mail that came before."""
        return self._ids.get(key)

    def forget(self, key: tuple[object, ...]) -> None:
        """The mail went on: should it come again, it is another one."""
        self._ids.pop(key, None)


class SmtpSite:
    """Fulfils `inspection.policy_in_force.Gateway`. Blocks while it is made: rules, lists, certificates are read."""

    def __init__(self, policy: Policy, name: str, proxy: SmtpProxy, audit: AuditLog) -> None:
        self.name = f"smtp-proxy.{name}"
        self.proxy = proxy
        self.checkpoint = Checkpoint(policy, self.name, proxy, audit)
        self.tls = make_server_context(proxy.tls)
        self.kept = KeptMails()
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

    @property
    def engines(self) -> tuple[str, ...] | None:
        """Who is asked about a mail; None where nobody is."""
        return None if self.proxy.no_mail_scanning else tuple(self.proxy.use_antivirus or ())

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing, QuarantineError."""
        await self.checkpoint.open()

    async def close(self, patience: float = 30.0) -> None:
        """Let mails under way end, for `patience` seconds at the most, then let everything go."""
        await self.checkpoint.close(patience)

    def cut(self) -> None:
        """End every mail under way, at once."""
        self.checkpoint.cut()


def make_server_context(tls: Tls) -> ssl.SSLContext | None:
    """For `tls` towards clients; None where there is none. Raises OSError, ssl.SSLError. Blocks."""
    if tls.mode == "none" or tls.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(tls.certificate), str(tls.key) if tls.key else None)
    return context
