"""SMTP, POP3 and IMAP4: the check first, then mail-acl, then doc-acl."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide_mail import decide_mail, merge_mail, names
from policy.decision import Action, MailDecision, Reason
from policy.facts import DocumentFacts, MailFacts
from policy.verdict import Status
from tests.policy.policies import make_smtp

FREE, FOUND, SKIPPED, UNKNOWN, ERROR = Status.FREE, Status.FOUND, Status.SKIPPED, Status.UNKNOWN, Status.ERROR
MAILOK = {"name": "MAILOK", "action": "accept"}
DOCOK = {"name": "DOCOK", "action": "accept"}


def decide(mail: list[dict[str, Any]], documents: list[dict[str, Any]], *statuses: Status) -> MailDecision:
    facts = MailFacts(documents=tuple(DocumentFacts(status=s) for s in statuses))
    return decide_mail(make_smtp(mail, documents), facts)


def on(status: str | list[str], action: str, **rest: Any) -> dict[str, Any]:
    """An ACL for a status, called by its action."""
    return {"name": action.upper(), "when": {"virus-status": status}, "action": action, **rest}


def test_a_clean_mail_is_accepted_with_all_its_documents():
    """Every document has its decision, in the mail's order."""
    decision = decide([MAILOK], [DOCOK], FREE, FREE)
    assert (decision.action, decision.reason, decision.acl) == (Action.ACCEPT, None, "MAILOK")
    assert [d.action for d in decision.documents] == [Action.ACCEPT, Action.ACCEPT]


@pytest.mark.parametrize("action", ["deny", "defer", "discard"])
def test_a_mail_acl_that_does_not_accept_ends_the_walk(action: str):
    """No doc-acl is asked, and the mail-acl's own wishes are carried on."""
    acl = on("found", action, quarantine=True, reply="see you")
    decision = decide([acl, MAILOK], [DOCOK], FREE, FOUND)
    assert (decision.action, decision.reason) == (Action(action), Reason.VIRUS_FOUND)
    assert (decision.quarantine, decision.reply, decision.documents) == (True, "see you", ())


def test_a_mail_acl_without_a_status_gives_acl_as_reason():
    """A refusal by sender has nothing to do with the engine."""
    acl = {"name": "NO", "when": {"virus-status": ["free"]}, "action": "deny"}
    assert decide([acl], [DOCOK], FREE).reason is Reason.ACL
    assert decide([{"name": "NO", "action": "deny"}], [DOCOK], FOUND).reason is Reason.ACL


def test_no_mail_acl_rejects():
    """A mail that no mail-acl takes is refused."""
    decision = decide([on("found", "discard")], [DOCOK], FREE)
    assert (decision.action, decision.reason) == (Action.DENY, Reason.NO_ACL)


def test_no_doc_acl_rejects_the_mail():
    """A document that no doc-acl takes refuses its mail."""
    decision = decide([MAILOK], [on("free", "accept")], FREE, SKIPPED)
    assert (decision.action, decision.reason, decision.acl) == (Action.DENY, Reason.NO_ACL, None)
    assert len(decision.documents) == 2


@pytest.mark.parametrize("action", ["accept", "deny", "discard", "defer"])
def test_an_error_is_deferred_by_every_catch_all(action: str):
    """A catch-all does not name error, so the mail is deferred whatever it says, and nothing is kept."""
    decision = decide([{"name": "ALL", "action": action, "quarantine": True}], [DOCOK], FREE, ERROR)
    assert (decision.action, decision.reason, decision.acl) == (Action.DEFER, Reason.ANTIVIRUS_ERROR, "ALL")
    assert not decision.quarantine


def test_an_error_that_nothing_matches_is_deferred():
    """An outage never becomes a permanent refusal."""
    assert decide([on("found", "deny")], [DOCOK], ERROR).action is Action.DEFER


def test_an_error_is_delivered_only_where_both_lists_name_it():
    """mail-acl and doc-acl must both say error for such a document to pass."""
    both = decide([on("error", "accept")], [on("error", "accept")], ERROR)
    assert both.action is Action.ACCEPT
    one = decide([on("error", "accept")], [DOCOK], ERROR)
    assert (one.action, one.reason, one.acl) == (Action.DEFER, Reason.ANTIVIRUS_ERROR, "DOCOK")


def test_an_error_beside_a_virus_defers_the_mail():
    """The mail's status is found, but its other document has none yet."""
    acls = [on("found", "replace", replace="x.txt"), DOCOK]
    decision = decide([MAILOK], acls, FOUND, ERROR)
    assert (decision.status, decision.action) == (FOUND, Action.DEFER)


def test_a_virus_is_delivered_only_by_an_acl_that_names_it():
    """A catch-all that accepts does not let a virus through."""
    refused = decide([MAILOK], [DOCOK], FOUND)
    assert (refused.action, refused.reason, refused.acl) == (Action.DENY, Reason.VIRUS_FOUND, "DOCOK")
    assert decide([MAILOK], [on("found", "accept")], FOUND).action is Action.ACCEPT


def test_replacement_keeps_the_mail_and_carries_the_wishes():
    """An accepted mail has its replacements, its copies and its subject's prefix."""
    acl = {**MAILOK, "quarantine": True, "copy-to": "a@example.com", "prefix-subject": "[V] "}
    decision = decide([acl], [on("found", "replace", replace="x.txt"), DOCOK], FREE, FOUND)
    assert [d.action for d in decision.documents] == [Action.ACCEPT, Action.REPLACE]
    assert decision.documents[1].reason is Reason.VIRUS_FOUND
    assert decision.documents[1].replace is not None
    assert decision.documents[1].replace.name == "x.txt"
    assert (decision.quarantine, decision.copy_to, decision.prefix_subject) == (True, ("a@example.com",), "[V] ")


def test_a_document_that_denies_refuses_the_mail_before_one_that_defers():
    """A refusal is final, so it comes before a delay; the kept original stays kept."""
    acls = [on("skipped", "deny"), DOCOK]
    decision = decide([{**MAILOK, "quarantine": True}, on("error", "accept")], acls, UNKNOWN, SKIPPED)
    assert (decision.action, decision.reason, decision.acl) == (Action.DENY, Reason.ANTIVIRUS_STATUS, "DENY")
    assert decision.quarantine
    mixed = decide([on("found", "accept")], [on("found", "deny"), DOCOK], ERROR, FOUND)
    assert mixed.action is Action.DENY


def test_the_status_is_merged_from_the_originals():
    """The strict order holds among documents, and the raw mail's status joins."""
    free = DocumentFacts(status=FREE)
    assert merge_mail(MailFacts(documents=(free, DocumentFacts(status=SKIPPED)))) is SKIPPED
    assert merge_mail(MailFacts(status=UNKNOWN, documents=(free,))) is UNKNOWN
    assert merge_mail(MailFacts()) is SKIPPED


def test_conditions_of_the_envelope_reach_the_doc_acl():
    """A doc-acl may ask for the mail's sender and the document's type together."""
    acl = {"name": "ZIP", "when": {"sender": "a@*", "extension": "zip", "magic": "text/*"}, "action": "deny"}
    proxy = make_smtp([MAILOK], [acl, DOCOK])
    zipped = DocumentFacts(status=FREE, filename="a.zip", head=b"text")
    assert decide_mail(proxy, MailFacts(sender="a@b", documents=(zipped,))).acl == "ZIP"
    assert decide_mail(proxy, MailFacts(sender="c@b", documents=(zipped,))).action is Action.ACCEPT


STATUSES = st.lists(st.sampled_from(list(Status)), max_size=2, unique=True)
MAIL_ACLS = st.lists(
    st.tuples(STATUSES, st.sampled_from(["accept", "deny", "defer", "discard"])), min_size=1, max_size=4
)
DOC_ACLS = st.lists(st.tuples(STATUSES, st.sampled_from(["accept", "deny", "replace"])), min_size=1, max_size=4)


def rows(drawn: list[tuple[list[Status], str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"N{n}",
            "action": action,
            "when": {"virus-status": statuses} if statuses else {},
            **({"replace": "x.txt"} if action == "replace" else {}),
        }
        for n, (statuses, action) in enumerate(drawn)
    ]


@given(MAIL_ACLS, DOC_ACLS, st.lists(st.sampled_from(list(Status)), min_size=1, max_size=4))
def test_no_virus_and_no_error_passes_unnamed(
    mail: list[tuple[list[Status], str]], documents: list[tuple[list[Status], str]], statuses: list[Status]
):
    """Whatever the lists: an accepted mail's documents are found or error only where their doc-acl names that."""
    proxy = make_smtp(rows(mail), rows(documents))
    decision = decide_mail(proxy, MailFacts(documents=tuple(DocumentFacts(status=s) for s in statuses)))
    if decision.action is not Action.ACCEPT:
        assert decision.reason is not None
        return
    acl = next(a for a in proxy.mail_acl if a.name == decision.acl)
    assert acl.action == "accept"
    assert decision.status is not ERROR or names(acl, ERROR)
    for status, done in zip(statuses, decision.documents, strict=True):
        chosen = next(a for a in proxy.doc_acl if a.name == done.acl)
        assert done.action in (Action.ACCEPT, Action.REPLACE)
        if done.action is Action.ACCEPT and status in (FOUND, ERROR):
            assert names(chosen, status)
