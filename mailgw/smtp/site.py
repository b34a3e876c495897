"""One smtp-proxy of one loaded policy, at work.

Rules of this file: only what makes it SMTP.
"""

from __future__ import annotations

from inspection.audit import AuditLog
from mailgw.kept_mails import KeptMails
from mailgw.site import MailSite
from policy.model import Policy, SmtpProxy


class SmtpSite(MailSite[SmtpProxy]):
    """`kept`: the mails that are in the quarantine already though their clients were told to try again."""

    def __init__(self, policy: Policy, label: str, proxy: SmtpProxy, audit: AuditLog) -> None:
        super().__init__(policy, label, proxy, audit)
        self.kept = KeptMails()

    @property
    def engines(self) -> tuple[str, ...] | None:
        """Who is asked about a mail; None where nobody is."""
        return None if self.proxy.no_mail_scanning else tuple(self.proxy.use_antivirus or ())
