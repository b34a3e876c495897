"""smtp-proxy, pop3-proxy and imap4-proxy.

Rules of this file: the lists that are walked are never absent: mail-acl wherever mail is scanned, doc-acl
wherever a mail-acl accepts; who is asked is said exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from policy.fields import Duration, Endpoint, Flag, Name, OneOrMany
from policy.model.gateway import Gateway, lacking
from policy.model.mail_acl import (
    DocumentAcl,
    Imap4CommandAcl,
    Imap4DocumentAcl,
    Imap4MailAcl,
    MailAcl,
    Pop3CommandAcl,
    Pop3DocumentAcl,
    Pop3MailAcl,
    SmtpDocumentAcl,
    SmtpMailAcl,
    scanning,
)
from policy.section import Problems


class MailProxy(Gateway):
    """A gateway whose mails are checked before an ACL is chosen."""

    listen: Endpoint
    server: OneOrMany[Endpoint]
    mail_acl: OneOrMany[MailAcl] = ()
    doc_acl: OneOrMany[DocumentAcl] = ()

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        if not cls.scans(raw):
            return
        yield from lacking("mail-acl", raw, "mail")
        acls = raw.get("mail-acl")
        rows = acls if isinstance(acls, list) else [acls]
        if any(isinstance(row, Mapping) and row.get("action") == "accept" for row in rows):
            yield from lacking("doc-acl", raw, "document")
        elif raw.get("doc-acl") == []:
            yield ("doc-acl",), "is empty; write an ACL, or take the key out"

    def keeps(self) -> bool:
        """Whether a mail-acl does."""
        return any(acl.quarantine for acl in self.mail_acl)

    @classmethod
    def scans(cls, raw: Mapping[str, Any]) -> bool:
        """Whether any mail is scanned, so that the lists are walked."""
        acls = raw.get("command-acl")
        rows = [row for row in (acls if isinstance(acls, list) else [acls]) if isinstance(row, Mapping)]
        return not rows or any(row.get("no-mail-scanning") is not True for row in rows)


class SmtpProxy(MailProxy):
    """SMTP, in session: no queue."""

    kind: ClassVar[str] = "smtp-proxy"

    use_antivirus: OneOrMany[Name] | None = None
    no_mail_scanning: Flag = False
    mail_acl: OneOrMany[SmtpMailAcl] = ()
    doc_acl: OneOrMany[SmtpDocumentAcl] = ()

    refused: ClassVar[Mapping[str, str]] = {
        "command-acl": "is for ftp-, pop3- and imap4-proxy; here write use-antivirus on the gateway",
    }

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from scanning(raw)
        yield from super().rules(raw)

    def engine_names(self) -> frozenset[str]:
        """Those of `use_antivirus`."""
        return frozenset(self.use_antivirus or ())

    @classmethod
    def scans(cls, raw: Mapping[str, Any]) -> bool:
        """Whether any mail is scanned, so that the lists are walked."""
        return raw.get("no-mail-scanning") is not True


_IN_COMMAND_ACL = {
    "use-antivirus": "stands in a command-acl here; write it there",
    "no-mail-scanning": "stands in a command-acl here; write it there",
}


class _StoredMailProxy(MailProxy):
    refused: ClassVar[Mapping[str, str]] = _IN_COMMAND_ACL

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        yield from lacking("command-acl", raw, "session")


class Pop3Proxy(_StoredMailProxy):
    """POP3. `keep_alive` seconds without a byte to the client, then a first one."""

    kind: ClassVar[str] = "pop3-proxy"

    command_acl: OneOrMany[Pop3CommandAcl]
    mail_acl: OneOrMany[Pop3MailAcl] = ()
    doc_acl: OneOrMany[Pop3DocumentAcl] = ()
    keep_alive: Duration = 20.0

    def engine_names(self) -> frozenset[str]:
        """Those of every command-acl."""
        return frozenset(name for acl in self.command_acl for name in acl.use_antivirus or ())


class Imap4Proxy(_StoredMailProxy):
    """IMAP4rev1."""

    kind: ClassVar[str] = "imap4-proxy"

    command_acl: OneOrMany[Imap4CommandAcl]
    mail_acl: OneOrMany[Imap4MailAcl] = ()
    doc_acl: OneOrMany[Imap4DocumentAcl] = ()

    def engine_names(self) -> frozenset[str]:
        """Those of every command-acl, for both directions."""
        users = [acl.use_antivirus for acl in self.command_acl if acl.use_antivirus]
        return frozenset(name for user in users for name in (*(user.download or ()), *(user.upload or ())))
