"""One pop3-proxy of one loaded policy, at work.

Rules of this file: only what makes it POP3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailgw.site import MailSite
from policy.decide import choose_command_acl
from policy.facts import SessionFacts
from policy.model import Pop3Proxy
from policy.model.mail_acl import Pop3CommandAcl


@dataclass(frozen=True, slots=True)
class Permit:
    """What the command-acl `acl` says of a session: the antiviruses that are asked, None where mail is not scanned."""

    acl: str
    engines: tuple[str, ...] | None


class Pop3Site(MailSite[Pop3Proxy]):
    """Who may read mails, besides."""

    def permit(self, client: str | None, user: str | None, server: str) -> Permit | None:
        """What the first matching command-acl says; None: there is none, and the session is refused."""
        facts = SessionFacts(client=client, user=user, server=server, at=datetime.now().astimezone())
        acl = choose_command_acl(self.proxy, facts).acl
        if not isinstance(acl, Pop3CommandAcl):
            return None
        return Permit(acl.name, None if acl.no_mail_scanning else tuple(acl.use_antivirus or ()))
