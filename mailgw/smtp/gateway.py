"""The smtp-proxy that a process hosts.

Rules of this file: only what makes it SMTP.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspection.audit import AuditLog
from mailgw.channel import Channel
from mailgw.hosted import MailHosted, Refusal
from mailgw.smtp.replies import Reply
from mailgw.smtp.session import Session
from mailgw.smtp.site import SmtpSite
from policy.model import Policy, SmtpProxy

_CODES = {Refusal.NOT_NOW: (421, "4.3.0"), Refusal.CROWDED: (421, "4.7.0"), Refusal.FORBIDDEN: (554, "5.7.1")}


class SmtpGateway(MailHosted[SmtpProxy, SmtpSite]):
    """Fulfils `inspection.host.Hosted`."""

    kind = "smtp-proxy"

    def list_proxies(self, policy: Policy) -> Mapping[str, SmtpProxy]:
        """The policy's gateways of this kind."""
        return policy.smtp_proxy

    def make_site(self, policy: Policy, proxy: SmtpProxy, audit: AuditLog) -> SmtpSite:
        """May block; is called in a thread."""
        return SmtpSite(policy, self.label, proxy, audit)

    def make_session(self, channel: Channel, site: SmtpSite, name: str, peer: str) -> Session:
        """A new client's."""
        return Session(channel, self, site, name, peer)

    def write_refusal(self, refusal: Refusal, text: str) -> bytes:
        """In place of a greeting."""
        return Reply.make(*_CODES[refusal], text).wire()
