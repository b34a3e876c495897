"""ACLs of the mail proxies: command-acl, mail-acl, doc-acl.

Rules of this file: the mail is scanned first, so `virus-status` is a condition; what belongs to HTTP's and
FTP's other order of evaluation is refused by name; a reply can never hold a line end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from policy.conditions import (
    CommandWhen,
    Imap4DocumentWhen,
    Imap4MailWhen,
    Pop3DocumentWhen,
    Pop3MailWhen,
    SmtpDocumentWhen,
    SmtpMailWhen,
    When,
)
from policy.fields import FileName, Flag, Line, Name, OneOrMany
from policy.model.acl import Acl
from policy.section import Problems, Section
from policy.verdict import Status

_OTHER_ORDER = "is for http-proxy and ftp-proxy; here write when: {virus-status: [...]}"
_TRICKLE = "is for http-proxy and ftp-proxy: mail never trickles; take it out"
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)


def parse_mailbox(value: object) -> str:
    """An address that can stand in RCPT TO as it is (RFC 5321, 4.1.2, without quoting)."""
    if not isinstance(value, str) or len(value) > 254 or not _MAILBOX.fullmatch(value):
        raise ValueError(f"{value!r} is no mail address; write for example admin@example.com")
    return value


type Mailbox = Annotated[
    str,
    BeforeValidator(parse_mailbox),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254}),
]


class _MailSide(Acl):
    refused: ClassVar[Mapping[str, str]] = {
        "accept-antivirus-status": _OTHER_ORDER,
        "virus-status": "stands under when; write when: {virus-status: [...]}",
        "virus-name": "stands under when; write when: {virus-name: [...]}",
        "antivirus": "is for http-proxy and ftp-proxy; here write use-antivirus",
        "interval": _TRICKLE,
        "chunk": _TRICKLE,
        "limit": _TRICKLE,
    }


class MailAcl(_MailSide):
    """What happens to a mail, by its merged status."""

    when: When = When()
    action: str
    quarantine: Flag = False
    reply: Line | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if "reply" in raw and raw.get("action") == "accept":
            yield ("reply",), "is never sent for an accepted mail: the next hop's reply is; take it out"


class SmtpMailAcl(MailAcl):
    """mail-acl of smtp-proxy."""

    when: SmtpMailWhen = SmtpMailWhen()
    action: Literal["accept", "deny", "defer", "discard"]
    copy_to: OneOrMany[Mailbox] | None = None
    prefix_subject: Line | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        for key in ("copy-to", "prefix-subject"):
            if key in raw and raw.get("action", "accept") != "accept":
                yield (key,), "goes with action: accept only; take it out"


class _StoredMailAcl(MailAcl):
    action: Literal["accept", "deny", "defer"]

    refused: ClassVar[Mapping[str, str]] = {
        **_MailSide.refused,
        "copy-to": "is for smtp-proxy: nothing is sent on here; take it out",
        "prefix-subject": "is for smtp-proxy: headers of a stored mail never change; take it out",
    }

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)


class Pop3MailAcl(_StoredMailAcl):
    """mail-acl of pop3-proxy."""

    when: Pop3MailWhen = Pop3MailWhen()


class Imap4MailAcl(_StoredMailAcl):
    """mail-acl of imap4-proxy."""

    when: Imap4MailWhen = Imap4MailWhen()


class DocumentAcl(_MailSide):
    """What happens to one document of an accepted mail."""

    when: When = When()
    action: Literal["accept", "deny", "replace"]
    replace: FileName | None = None

    refused: ClassVar[Mapping[str, str]] = {
        **_MailSide.refused,
        "quarantine": "is for the mail-acl: a mail is kept whole; write it there",
        "copy-to": "is for the mail-acl; write it there",
        "prefix-subject": "is for the mail-acl; write it there",
    }

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        action = raw.get("action")
        if action == "replace" and "replace" not in raw:
            yield ("replace",), "is missing; write the file whose text takes the document's place"
        if action != "replace" and "replace" in raw:
            yield ("replace",), "goes with action: replace only; write that, or take it out"


class _StoredDocumentAcl(DocumentAcl):
    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        when = raw.get("when")
        named = when.get("virus-status") if isinstance(when, Mapping) else None
        if raw.get("action") == "replace" and Status.ERROR in (named if isinstance(named, list) else [named]):
            yield (
                ("when", "virus-status"),
                ("replace on error would make an outage permanent in the client; take error out"),
            )


class SmtpDocumentAcl(DocumentAcl):
    """doc-acl of smtp-proxy."""

    when: SmtpDocumentWhen = SmtpDocumentWhen()


class Pop3DocumentAcl(_StoredDocumentAcl):
    """doc-acl of pop3-proxy."""

    when: Pop3DocumentWhen = Pop3DocumentWhen()


class Imap4DocumentAcl(_StoredDocumentAcl):
    """doc-acl of imap4-proxy."""

    when: Imap4DocumentWhen = Imap4DocumentWhen()


class CommandAcl(Acl):
    """Chosen once after login: which engines check, or that none does."""

    when: CommandWhen = CommandWhen()
    no_mail_scanning: Flag = False

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from scanning(raw)


def scanning(raw: Mapping[str, Any]) -> Problems:
    """Exactly one of use-antivirus and no-mail-scanning: true."""
    off = raw.get("no-mail-scanning", False) is not False
    if "use-antivirus" in raw and off:
        yield ("no-mail-scanning",), "contradicts use-antivirus; write one of the two"
    elif "use-antivirus" not in raw and not off:
        yield ("use-antivirus",), "is missing; write the engines, or no-mail-scanning: true"


class Pop3CommandAcl(CommandAcl):
    """command-acl of pop3-proxy."""

    use_antivirus: OneOrMany[Name] | None = None


class UseAntivirus(Section):
    """Engines by direction. One without engines has status `skipped`."""

    download: OneOrMany[Name] | None = None
    upload: OneOrMany[Name] | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if not raw:
            yield (), "is empty; write download, upload or both"


class Imap4CommandAcl(CommandAcl):
    """command-acl of imap4-proxy."""

    use_antivirus: UseAntivirus | None = None
