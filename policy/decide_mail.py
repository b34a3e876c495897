"""Decisions on mails: the order of evaluation of SMTP, POP3 and IMAP4.

Rules of this file: pure, no clock and no I/O; all documents are scanned before; mail-acl decides by the
merged status, and only where it accepts is doc-acl walked, for each document; what no ACL names is never
delivered when it is `found` (refused) or `error` (deferred).
"""

from __future__ import annotations

from collections.abc import Iterable

from policy.decide import REASONS, walk
from policy.decision import Action, Choice, DocumentDecision, MailDecision, Reason, Step
from policy.facts import DocumentFacts, MailDocument, MailFacts
from policy.model import DocumentAcl, MailAcl, MailProxy, SmtpMailAcl
from policy.verdict import Status, merge_documents


def decide_mail(proxy: MailProxy, facts: MailFacts) -> MailDecision:
    """What happens to a mail and to each of its documents, after the check."""
    status = merge_mail(facts)
    judged = _Judged(facts, status)
    acls: tuple[MailAcl, ...] = proxy.mail_acl
    choice = walk(acls, judged, "mail-acl")
    acl = choice.acl
    if acl is None or (status is Status.ERROR and not names(acl, status)):
        return _unnamed(choice, status)
    if acl.action != "accept":
        return _obeyed(acl, choice.trace, status)
    documents = tuple(decide_part(proxy, facts, document) for document in facts.documents)
    return _with_documents(acl, choice.trace, status, documents)


def merge_mail(facts: MailFacts) -> Status:
    """The mail's status: its documents' and, where it has one, the raw mail's, by the strict order."""
    own = () if facts.status is None else (facts.status,)
    return merge_documents((*own, *(d.status for d in facts.documents)))


class _Judged:
    """A mail's facts with its merged status."""

    def __init__(self, facts: MailFacts, status: Status) -> None:
        self.client, self.user, self.server, self.at = facts.client, facts.user, facts.server, facts.at
        self.direction, self.sender, self.recipients = facts.direction, facts.sender, facts.recipients
        self.size, self.viruses, self.status = facts.size, facts.viruses, status


def _unnamed(choice: Choice[MailAcl], status: Status) -> MailDecision:
    """No mail-acl matches, or none that names `error`: an outage is never made permanent, all else is refused."""
    if status is not Status.ERROR:
        return MailDecision(action=Action.DENY, reason=Reason.NO_ACL, trace=choice.trace, status=status)
    name = choice.acl.name if choice.acl else None
    step = Step(name or "-", True, "virus-status is error, which no matching mail-acl names", "mail-acl")
    return MailDecision(
        action=Action.DEFER,
        reason=Reason.ANTIVIRUS_ERROR,
        acl=name,
        trace=(*choice.trace, step),
        status=status,
    )


def _obeyed(acl: MailAcl, trace: tuple[Step, ...], status: Status) -> MailDecision:
    """A mail-acl that does not accept: no doc-acl is walked."""
    return MailDecision(
        action=Action(acl.action),
        reason=REASONS[status] if names(acl, status) and status in REASONS else Reason.ACL,
        acl=acl.name,
        trace=trace,
        quarantine=acl.quarantine,
        status=status,
        reply=acl.reply,
    )


def names(acl: MailAcl | DocumentAcl, status: Status) -> bool:
    """Whether the ACL names the status in its own `virus-status`; a catch-all names nothing."""
    named: tuple[Status, ...] = getattr(acl.when, "virus_status", None) or ()
    return status in named


def decide_part(proxy: MailProxy, mail: MailFacts, document: DocumentFacts) -> DocumentDecision:
    """What the doc-acl says of one document. `deny` and `defer` here are the whole mail's."""
    acls: tuple[DocumentAcl, ...] = proxy.doc_acl
    choice = walk(acls, _in_mail(mail, document), "doc-acl")
    acl, trace, status = choice.acl, choice.trace, document.status
    name = acl.name if acl else None
    named = acl is not None and names(acl, status)
    if status is Status.ERROR and not named:
        return DocumentDecision(action=Action.DEFER, reason=Reason.ANTIVIRUS_ERROR, acl=name, trace=trace)
    if acl is None:
        return DocumentDecision(action=Action.DENY, reason=Reason.NO_ACL, trace=trace)
    if acl.action == "deny":
        reason = REASONS[status] if named and status in REASONS else Reason.ACL
        return DocumentDecision(action=Action.DENY, reason=reason, acl=name, trace=trace)
    if acl.action == "accept" and status is Status.FOUND and not named:
        step = Step(acl.name, True, "virus-status is found, which it does not name")
        trace = (*trace, step)
        return DocumentDecision(action=Action.DENY, reason=Reason.VIRUS_FOUND, acl=name, trace=trace)
    replaced = None if acl.action == "accept" else REASONS.get(status, Reason.ACL)
    return DocumentDecision(action=Action(acl.action), reason=replaced, acl=name, trace=trace, replace=acl.replace)


def _in_mail(mail: MailFacts, document: DocumentFacts) -> MailDocument:
    return MailDocument(
        client=mail.client,
        user=mail.user,
        server=mail.server,
        at=mail.at,
        direction=mail.direction,
        sender=mail.sender,
        recipients=mail.recipients,
        status=document.status,
        virus=document.virus,
        content_type=document.content_type,
        filename=document.filename,
        size=document.size,
        # The mail is complete: what no head was kept of has no type that could still come.
        head=document.head or b"",
        magic=document.magic,
    )


def _with_documents(
    acl: MailAcl, trace: tuple[Step, ...], status: Status, documents: tuple[DocumentDecision, ...]
) -> MailDecision:
    """An accepted mail, unless a document refuses it (first) or defers it."""
    blocking = _first(documents, Action.DENY) or _first(documents, Action.DEFER)
    if blocking is not None:
        return MailDecision(
            action=blocking.action,
            reason=blocking.reason,
            acl=blocking.acl,
            trace=(*trace, *blocking.trace),
            quarantine=acl.quarantine and blocking.action is Action.DENY,
            status=status,
            documents=documents,
        )
    smtp = acl if isinstance(acl, SmtpMailAcl) else None
    return MailDecision(
        action=Action.ACCEPT,
        acl=acl.name,
        trace=trace,
        quarantine=acl.quarantine,
        status=status,
        documents=documents,
        copy_to=(smtp.copy_to or ()) if smtp else (),
        prefix_subject=smtp.prefix_subject if smtp else None,
    )


def _first(documents: Iterable[DocumentDecision], action: Action) -> DocumentDecision | None:
    return next((d for d in documents if d.action is action), None)
