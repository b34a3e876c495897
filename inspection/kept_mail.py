"""What the quarantine says of a mail: the fields of a control file that releasing, showing and searching need.

Rules of this file: pure; names are documented in docs/quarantine.md; a value that is unknown is left out; passwords
never get in: of a command that carries a login only its name stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

from inspection.record import DocumentEntry, visible
from policy.verdict import Status
from scanners.engine import Body

MOST_COMMANDS = 200  # command lines of the client that are kept
_LINE = 512  # characters of one of them (RFC 5321 section 4.5.3.1.4)
_HEADER = 64 * 1024  # bytes of a mail in which the subject is looked for
_SUBJECT = re.compile(rb"^subject[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_END = re.compile(rb"\r?\n\r?\n")
_LOGIN = re.compile(r"\s*(?:\S+\s+)?(AUTH|AUTHENTICATE|LOGIN|PASS|APOP)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMail:
    """One mail as its gateway knew it when it was kept; pass `as_metadata()` to `Quarantine.keep`.

    `sender` is the envelope's ("" is the null reverse path, None: the protocol has none), `recipients` the
    envelope's as the client named them, in order. `mail_options`: the parameters of MAIL (`BODY=8BITMIME`,
    `SMTPUTF8`). `subject` decoded. `acl`: the mail-acl that had it kept; `document_acls`: those of its documents.
    `commands`: the client's lines of this transaction, as they came (logins are taken off). For stored mail (POP3,
    IMAP4) `mailbox`, `uid`, `flags` and `internal_date` (RFC 3339) say where it lay.
    """

    proxy: str
    session: str = ""
    client: str | None = None
    server: str | None = None
    user: str | None = None
    direction: str | None = None
    helo: str | None = None
    sender: str | None = None
    recipients: Sequence[str] = ()
    mail_options: Sequence[str] = ()
    copy_to: Sequence[str] = ()
    message_id: str | None = None
    subject: str | None = None
    status: Status | None = None
    virus: str | None = None
    documents: Sequence[DocumentEntry] = ()
    session_acl: str | None = None
    acl: str | None = None
    document_acls: Sequence[str] = ()
    action: str | None = None
    commands: Sequence[str] = ()
    mailbox: str | None = None
    uid: str | None = None
    flags: Sequence[str] = ()
    internal_date: str | None = None

    @property
    def tag(self) -> str | None:
        """Who had it kept, as TYPE:REASON: `ACL3M:VIRUS` is the mail-acl VIRUS."""
        return f"ACL3M:{self.acl}" if self.acl else None

    def as_metadata(self) -> dict[str, Any]:
        """Plain data for `Quarantine.keep`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {
            "status": str(self.status) if self.status else None,
            "documents": [_document(entry) for entry in self.documents],
            "commands": [_without_login(line) for line in self.commands[:MOST_COMMANDS]],
            "tag": self.tag,
        }
        known = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v not in (None, (), [])}
        return {"event": "mail", **known}


def read_subject(mail: Body) -> str | None:
    """The first Subject of a mail's header, decoded as far as it can be; None where there is none."""
    head = mail.read(0, _HEADER)
    if (end := _END.search(head)) is not None:
        head = head[: end.start() + 1]
    if (found := _SUBJECT.search(head)) is None:
        return None
    text = re.sub(r"\r?\n", "", found[1].decode("utf-8", "backslashreplace")).strip()
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):  # an encoding that nobody knows, or that it does not have
        return text


def _document(entry: DocumentEntry) -> dict[str, Any]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {name: str(v) if isinstance(v, Status) else v for name, v in values.items() if v is not None}


def _without_login(line: str) -> str:
    if (login := _LOGIN.match(line)) is not None:
        return f"{visible(login[0].strip(), _LINE)} ..."
    return visible(line.rstrip("\r\n"), _LINE)
