"""What came out of a mail's check, and what is written down of it: the audit record, the quarantine's metadata.

Rules of this file: data only; no content, no subjects; envelope addresses go to the quarantine, never into a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from inspection.audit import AuditRecord, DocumentEntry
from inspection.kept_mail import KeptMail, read_subject
from inspection.spool import Spool
from mailgw.envelope import Envelope
from policy.decision import Action, MailDecision, Reason
from policy.verdict import ScanReport
from scanners.engine import Body

_HEADER = 64 * 1024  # octets in which a Message-ID is looked for
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:[ \t\r\n]*(<[^<>\s]{1,900}>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailOutcome:
    """What came out. `checked` False: nobody was asked, and the status means nothing. `quarantine` is the
    id under which the mail is kept, on disk and synced; `form` takes the mail's place where documents were replaced,
    None leaves it as it came; the caller calls `close`. `detail` is for people."""

    decision: MailDecision
    checked: bool = True
    reports: tuple[ScanReport, ...] = ()
    documents: tuple[DocumentEntry, ...] = ()
    message_id: str | None = None
    quarantine: str | None = None
    form: Spool | None = None
    detail: str = ""

    def close(self) -> None:
        """Give the room of `form` back. May be called twice."""
        if self.form is not None:
            self.form.close()

    @property
    def virus(self) -> str | None:
        """The first virus that an engine named."""
        return next((r.virus for r in self.reports if r.virus), None)


def make_metadata(proxy: str, envelope: Envelope, mail: Body, outcome: MailOutcome) -> dict[str, object]:
    decision = outcome.decision
    return KeptMail(
        proxy=proxy,
        session=envelope.session,
        client=envelope.client,
        server=envelope.server,
        user=envelope.user,
        direction=envelope.direction,
        helo=envelope.helo,
        sender=envelope.sender,
        recipients=envelope.recipients,
        mail_options=envelope.mail_options,
        copy_to=decision.copy_to,
        message_id=outcome.message_id,
        subject=read_subject(mail),
        status=decision.status,
        virus=outcome.virus,
        documents=outcome.documents,
        acl=decision.acl,
        document_acls=tuple(dict.fromkeys(d.acl for d in decision.documents if d.acl)),
        action=str(decision.action),
    ).as_metadata()


def replaces(decision: MailDecision) -> bool:
    """Whether a document gives way to another text."""
    return any(d.action is Action.REPLACE for d in decision.documents)


def find_message_id(mail: Body) -> str | None:
    """The header's Message-ID, if it has a well-formed one near its beginning."""
    head = mail.read(0, _HEADER)
    end = head.find(b"\r\n\r\n")
    found = _MESSAGE_ID.search(head[: end if end >= 0 else len(head)])
    return found[1].decode("utf-8", "replace") if found else None


def make_record(
    proxy: str,
    envelope: Envelope,
    mail: Body,
    outcome: MailOutcome,
    *,
    action: Action | None = None,
    reason: Reason | None = None,
    ms: float = 0.0,
) -> AuditRecord:
    """The audit record of a mail that is done with. `action` and `reason` say what became of it, where that is not
    what was decided: the next hop, or the client, had a word in it."""
    decision = outcome.decision
    return AuditRecord(
        time=datetime.now(UTC),
        event="mail",
        proxy=proxy,
        session=envelope.session,
        id=envelope.id,
        client=envelope.client,
        server=envelope.server,
        user=envelope.user,
        direction=envelope.direction,
        object=outcome.message_id,
        content_type="message/rfc822",
        size=mail.size,
        sha256=mail.sha256,
        status=decision.status if outcome.checked else None,
        virus=outcome.virus,
        engines=outcome.reports,
        documents=outcome.documents,
        acl=decision.acl,
        action=str(action or _what_was_done(decision)),
        reason=reason or decision.reason,
        quarantine=outcome.quarantine,
        ms=ms,
    )


def _what_was_done(decision: MailDecision) -> Action:
    """`replace` is said of a mail that was delivered with a document replaced."""
    return Action.REPLACE if decision.passes and replaces(decision) else decision.action
