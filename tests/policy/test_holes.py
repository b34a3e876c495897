"""Holes in a mail gateway's rules."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.decide_mail import decide_mail
from policy.decision import Action
from policy.facts import DocumentFacts, MailFacts
from policy.holes import find_holes, find_idle_documents
from policy.verdict import Status
from tests.policy.policies import make_pop3, make_smtp

MAILOK = {"name": "MAILOK", "action": "accept"}
DOCOK = {"name": "DOCOK", "action": "accept"}


def on(statuses: str | list[str], action: str, name: str = "") -> dict[str, Any]:
    return {"name": name or action.upper(), "when": {"virus-status": statuses}, "action": action}


def holes(mail: list[dict[str, Any]], documents: list[dict[str, Any]]) -> list[str]:
    """What could be delivered without free, status by status."""
    said = [text for _, text in find_holes((), make_smtp(mail, documents))]
    return [text.removeprefix("a document of status ").split()[0] for text in said]


@pytest.mark.parametrize(
    ("mail", "documents", "expected"),
    [
        ([MAILOK], [DOCOK], ["unknown", "skipped"]),
        ([on(["skipped", "unknown"], "discard"), MAILOK], [DOCOK], []),
        ([on("unknown", "deny"), MAILOK], [DOCOK], ["skipped"]),
        ([MAILOK], [on(["skipped", "unknown"], "deny"), DOCOK], []),
        ([on("free", "accept")], [DOCOK], []),
        ([on("found", "accept")], [DOCOK], []),
        ([on("found", "accept")], [on("found", "accept"), DOCOK], ["found", "unknown", "skipped"]),
        (
            [MAILOK],
            [on("found", "accept", "V"), on("error", "accept", "E"), DOCOK],
            ["found", "error", "unknown", "skipped"],
        ),
        ([{"name": "NO", "action": "deny"}], [DOCOK], []),
        ([on(["skipped", "unknown"], "deny"), MAILOK], [on("found", "accept"), DOCOK], ["found", "unknown", "skipped"]),
    ],
)
def test_holes_are_judged_with_both_lists(mail: list[Any], documents: list[Any], expected: list[str]):
    """A status is a hole only where a mail-acl accepts such a mail and a doc-acl such a document."""
    assert holes(mail, documents) == expected


def test_a_hole_names_the_acls_and_stands_at_the_doc_acl():
    """The warning says which ACLs let the status through, once."""
    acls = [on("found", "accept", "VIRUS"), on(["skipped"], "deny"), MAILOK]
    replace = {**on("found", "replace", "R"), "replace": "x.txt"}
    proxy = make_smtp(acls, [on("skipped", "deny"), replace, DOCOK])
    ((loc, text),) = find_holes(("smtp-proxy", "S"), proxy)
    assert loc == ("smtp-proxy", "S", "doc-acl", 2)
    assert "unknown" in text
    assert "mail-acl VIRUS or MAILOK" in text
    assert "doc-acl DOCOK" in text


def test_what_is_not_scanned_has_no_holes():
    """A relay without scanning is one knowing decision, not five holes."""
    proxy = make_smtp([MAILOK], [DOCOK], **{"use-antivirus": ["A"]})
    assert list(find_holes((), proxy))
    untouched = make_pop3([MAILOK], [DOCOK], **{"command-acl": [{"name": "C", "no-mail-scanning": True}]})
    assert not list(find_holes((), untouched))
    assert not list(find_idle_documents((), untouched))


def test_a_doc_acl_for_what_no_mail_acl_accepts_is_idle():
    """Where infected mails are discarded, a replacement of infected documents never happens."""
    replace = {**on("found", "replace", "R"), "replace": "x.txt"}
    proxy = make_smtp([on("found", "discard"), MAILOK], [replace, DOCOK])
    ((loc, text),) = find_idle_documents((), proxy)
    assert loc == ("doc-acl", 0)
    assert "can never match" in text
    assert not list(find_idle_documents((), make_smtp([MAILOK], [replace, DOCOK])))


STATUSES = st.lists(st.sampled_from(list(Status)), max_size=3, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(STATUSES, st.sampled_from(["accept", "deny", "discard"])), min_size=1, max_size=3),
    st.lists(st.tuples(STATUSES, st.sampled_from(["accept", "deny"])), min_size=1, max_size=3),
)
def test_lint_and_decisions_agree(mail: list[tuple[Any, str]], documents: list[tuple[Any, str]]):
    """Exactly those statuses are called holes that some mail of two documents is delivered with."""

    def rows(drawn: list[tuple[Any, str]]) -> list[dict[str, Any]]:
        return [
            {"name": f"N{n}", "action": a, "when": {"virus-status": s} if s else {}} for n, (s, a) in enumerate(drawn)
        ]

    proxy = make_smtp(rows(mail), rows(documents))
    delivered: set[Status] = set()
    # The raw mail is never found alone: then every document is.
    for *statuses, raw in product(Status, Status, set(Status) - {Status.FOUND}):
        documents_ = tuple(DocumentFacts(status=s) for s in statuses)
        if decide_mail(proxy, MailFacts(status=raw, documents=documents_)).action is Action.ACCEPT:
            delivered |= set(statuses)
    said = {text.removeprefix("a document of status ").split()[0] for _, text in find_holes((), proxy)}
    assert said == {str(s) for s in delivered - {Status.FREE}}
