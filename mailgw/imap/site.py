"""One imap4-proxy of one loaded policy, at work.

Rules of this file: only what makes it IMAP.
"""

from __future__ import annotations

from inspection.audit import AuditLog
from mailgw.imap.verdicts import VerdictMemory
from mailgw.kept_mails import KeptMails
from mailgw.site import MailSite
from policy.model import Imap4Proxy, Policy


class ImapSite(MailSite[Imap4Proxy]):
    """`kept`: the mails that are in the quarantine already; `memory`: what was found out of others."""

    def __init__(self, policy: Policy, label: str, proxy: Imap4Proxy, audit: AuditLog) -> None:
        super().__init__(policy, label, proxy, audit)
        self.kept = KeptMails()
        self.memory = VerdictMemory(policy.cache.free, policy.cache.entries)
