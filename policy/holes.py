"""Holes in a mail gateway's rules: what is delivered although no engine called it free.

Rules of this file: mail-acl and doc-acl are judged together, per status of a document; a document's mail has
at least the document's status in the strict order, so a stronger mail status is looked at too; each hole is
told once.
"""

from __future__ import annotations

from collections.abc import Sequence

from policy.decide_mail import names
from policy.model import CommandAcl, DocumentAcl, MailAcl, MailProxy, SmtpProxy
from policy.reach import candidates
from policy.section import Loc, Problems
from policy.verdict import Merge, Status, merge_order

_STRICT = merge_order(Merge.STRICT)


def find_holes(loc: Loc, gateway: MailProxy) -> Problems:
    """One warning per document status that could be delivered as it is, at the doc-acl's place."""
    if not scans(gateway):
        return
    for status in (s for s in _STRICT if s is not Status.FREE):
        mails = accepting_mail_acls(gateway, _delivered_with(gateway, status))
        documents = [acl for acl in _doc_acls(gateway, status) if _delivers(acl, status)]
        if mails and documents:
            yield (
                (*loc, "doc-acl", gateway.doc_acl.index(documents[0])),
                (
                    f"a document of status {status} is delivered although no engine called it free: mail-acl "
                    f"{_or(mails)} accepts the mail, doc-acl {_or(documents)} the document; name {status} in "
                    "an ACL before, with action deny or replace"
                ),
            )


def find_idle_documents(loc: Loc, gateway: MailProxy) -> Problems:
    """doc-acls whose statuses no accepted mail can hold, so that they can never match."""
    if not scans(gateway):
        return
    for n, acl in enumerate(gateway.doc_acl):
        named: tuple[Status, ...] = getattr(acl.when, "virus_status", None) or ()
        if named and not any(accepting_mail_acls(gateway, _at_least(s)) for s in named):
            yield (
                (*loc, "doc-acl", n),
                (f"can never match: no mail-acl accepts a mail with a document of status {_or_words(named)}"),
            )


def scans(gateway: MailProxy) -> bool:
    """Whether any mail is scanned, so that the lists are walked."""
    if isinstance(gateway, SmtpProxy):
        return not gateway.no_mail_scanning
    acls: tuple[CommandAcl, ...] = getattr(gateway, "command_acl", ())
    return any(not acl.no_mail_scanning for acl in acls)


def accepting_mail_acls(gateway: MailProxy, statuses: Sequence[Status]) -> list[MailAcl]:
    """The mail-acls that could accept a mail of any of these statuses."""
    acls: tuple[MailAcl, ...] = gateway.mail_acl
    found = [
        acl
        for mail_status in statuses
        for acl in candidates(acls, mail_status)
        if acl.action == "accept" and (mail_status is not Status.ERROR or names(acl, mail_status))
    ]
    return [acl for acl in acls if acl in found]


def _at_least(status: Status) -> tuple[Status, ...]:
    """What the status of a mail with such a document could be."""
    return _STRICT[: _STRICT.index(status) + 1]


def _delivered_with(gateway: MailProxy, status: Status) -> tuple[Status, ...]:
    """What the status of a mail could be that is delivered with such a document."""
    at_least = _at_least(status)
    if status is Status.FOUND or any(_lets_mail_pass(acl, Status.FOUND) for acl in _doc_acls(gateway, Status.FOUND)):
        return at_least
    # A found mail has a found document, and here every such document refuses its mail.
    return tuple(s for s in at_least if s is not Status.FOUND)


def _lets_mail_pass(acl: DocumentAcl, status: Status) -> bool:
    return acl.action == "replace" or _delivers(acl, status)


def _doc_acls(gateway: MailProxy, status: Status) -> list[DocumentAcl]:
    acls: tuple[DocumentAcl, ...] = gateway.doc_acl
    return list(candidates(acls, status))


def _delivers(acl: DocumentAcl, status: Status) -> bool:
    needs_a_name = status in (Status.FOUND, Status.ERROR)
    return acl.action == "accept" and (names(acl, status) or not needs_a_name)


def _or(acls: list[MailAcl] | list[DocumentAcl]) -> str:
    return _or_words(tuple(acl.name for acl in acls))


def _or_words(words: tuple[str, ...]) -> str:
    return " or ".join(words)
