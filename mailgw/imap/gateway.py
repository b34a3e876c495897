"""The imap4-proxy that a process hosts.

Rules of this file: only what makes it IMAP.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspection.audit import AuditLog
from mailgw.channel import Channel
from mailgw.hosted import MailHosted, Refusal
from mailgw.imap.session import Session
from mailgw.imap.site import ImapSite
from policy.model import Imap4Proxy, Policy


class ImapGateway(MailHosted[Imap4Proxy, ImapSite]):
    """Fulfils `inspection.host.Hosted`."""

    kind = "imap4-proxy"

    def list_proxies(self, policy: Policy) -> Mapping[str, Imap4Proxy]:
        """The policy's gateways of this kind."""
        return policy.imap4_proxy

    def make_site(self, policy: Policy, proxy: Imap4Proxy, audit: AuditLog) -> ImapSite:
        """May block; is called in a thread."""
        return ImapSite(policy, self.label, proxy, audit)

    def make_session(self, channel: Channel, site: ImapSite, name: str, peer: str) -> Session:
        """A new client's."""
        return Session(channel, self, site, name, peer)

    def write_refusal(self, refusal: Refusal, text: str) -> bytes:
        """In place of a greeting."""
        return f"* BYE {text}\r\n".encode("ascii")
