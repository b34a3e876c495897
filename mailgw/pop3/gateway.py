"""The pop3-proxy that a process hosts.

Rules of this file: only what makes it POP3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inspection.audit import AuditLog
from mailgw.channel import Channel
from mailgw.hosted import MailHosted, Refusal
from mailgw.kept_mails import KeptMails
from mailgw.pop3.replies import refuse
from mailgw.pop3.session import Session
from mailgw.pop3.site import Pop3Site
from policy.model import Policy, Pop3Proxy


class Pop3Gateway(MailHosted[Pop3Proxy, Pop3Site]):
    """Fulfils `inspection.host.Hosted`. `kept` outlives a reload: what is in the quarantine stays there."""

    kind = "pop3-proxy"

    def __init__(self, file: Path, name: str, default_audit: str) -> None:
        super().__init__(file, name, default_audit)
        self.kept = KeptMails()

    def list_proxies(self, policy: Policy) -> Mapping[str, Pop3Proxy]:
        """The policy's gateways of this kind."""
        return policy.pop3_proxy

    def make_site(self, policy: Policy, proxy: Pop3Proxy, audit: AuditLog) -> Pop3Site:
        """May block; is called in a thread."""
        return Pop3Site(policy, self.label, proxy, audit)

    def make_session(self, channel: Channel, site: Pop3Site, name: str, peer: str) -> Session:
        """A new client's."""
        return Session(channel, self, site, name, peer)

    def write_refusal(self, refusal: Refusal, text: str) -> bytes:
        """In place of a greeting."""
        return refuse(text, code="" if refusal is Refusal.FORBIDDEN else "SYS/TEMP").wire()
