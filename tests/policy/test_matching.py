"""Each entry condition, holding and not, and what it says when it does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from policy.conditions import HttpWhen, SmtpDocumentWhen, SmtpMailWhen
from policy.facts import DocumentFacts, MailDocument, MailFacts, ObjectFacts
from policy.matching import WAIT
from policy.verdict import Status

NOON = datetime(2026, 11, 23, 12, 0)


def refuse(when: dict[str, Any], **facts: Any) -> str | None:
    """Why an HTTP object with these facts does not match."""
    return HttpWhen.model_validate(when).refuse(ObjectFacts(**facts))


@pytest.mark.parametrize(
    ("when", "facts"),
    [
        ({"client": "10.0.0.0/8"}, {"client": "10.9.8.7:1234"}),
        ({"user": "ali*"}, {"user": "Alice"}),
        ({"server": "*.example.com"}, {"server": "www.example.com:80"}),
        ({"time": {"weekday": "mon"}}, {"at": NOON}),
        ({"direction": "upload"}, {"direction": "upload"}),
        ({"method": ["put", "post"]}, {"method": "POST"}),
        ({"url": "http://example.org/*"}, {"url": "http://EXAMPLE.org/a?b"}),
        ({"host": "example.org"}, {"url": "http://example.org:8080/"}),
        ({"host": "example.org"}, {"host": "EXAMPLE.org."}),
        ({"content-type": "text/event-stream"}, {"content_type": "Text/Event-Stream; charset=utf-8"}),
        ({"extension": "exe"}, {"url": "http://e/x/a.EXE?b.txt"}),
        ({"extension": ".exe"}, {"url": "http://e/a%2eexe"}),
        ({"extension": "exe"}, {"filename": "a.exe. "}),
        ({"extension": "tar.gz"}, {"filename": "a.tar.gz"}),
        ({"extension": "gz"}, {"filename": "a.tar.gz"}),
        ({"extension": "txt"}, {"filename": "a.txt", "url": "http://e/a.exe"}),
        ({"filename": "inv*"}, {"url": "http://e/Invoice.pdf"}),
        ({"magic": "application/x-dosexec"}, {"head": b"MZ", "filename": "a.jpg"}),
        ({"magic": "image/*"}, {"magic": "image/png"}),
        ({"magic": "application/x-empty"}, {"head": b""}),
        ({"size": ">10MiB"}, {"size": 10 * 2**20 + 1}),
        ({"size": ["=0", ">100"]}, {"size": 0}),
        ({"client": ["192.0.2.0/24", "10.0.0.0/8"], "method": "GET"}, {"client": "10.0.0.1", "method": "GET"}),
        ({}, {}),
    ],
)
def test_condition_holds(when: dict[str, Any], facts: dict[str, Any]):
    """The condition holds for these facts."""
    assert refuse(when, **facts) is None


@pytest.mark.parametrize(
    ("when", "facts", "why"),
    [
        ({"client": "10.0.0.0/8"}, {"client": "192.0.2.1"}, "client is 192.0.2.1, not 10.0.0.0/8"),
        ({"client": "10.0.0.0/8"}, {}, "client is not known"),
        ({"time": {"weekday": "tue"}}, {"at": NOON}, "time is Mon 12:00, outside"),
        ({"time": {"weekday": "tue"}}, {}, "time is not known"),
        ({"direction": "upload"}, {}, "direction is download, not upload"),
        ({"host": "example.org"}, {"url": "http://["}, "host is not known"),
        ({"content-type": "text/event-stream"}, {"content_type": "text/event-stream, text/html"}, None),
        ({"extension": "exe"}, {"url": "http://e/a.exe/"}, "extension is not known"),
        ({"extension": "exe"}, {"filename": "exe"}, "extension is exe, not exe"),
        ({"magic": "application/zip"}, {"head": b"MZ"}, "magic is application/x-dosexec, not application/zip"),
        ({"size": ">1KiB"}, {}, "size is not known"),
        ({"size": ">1KiB"}, {"size": 1024}, "size is 1024, not >1KiB"),
        ({"url": "http://a/*"}, {"url": "http://" + "b" * 200}, None),
        ({"client": "10.0.0.0/8", "method": "GET"}, {"client": "10.0.0.1", "method": "PUT"}, "method is PUT, not GET"),
    ],
)
def test_condition_does_not_hold_and_says_why(when: dict[str, Any], facts: dict[str, Any], why: str | None):
    """The condition does not hold, what is not known included, and the reason is short."""
    said = refuse(when, **facts)
    assert said is not None
    assert len(said) < 200
    assert why is None or said == why


def test_magic_waits_only_when_nothing_else_speaks_against_it():
    """Without the first bytes magic cannot be judged, but a cheaper condition that fails is answer enough."""
    when = {"magic": "application/zip", "method": "GET"}
    assert refuse(when, method="GET") is WAIT
    assert refuse(when, method="PUT") == "method is PUT, not GET"


@pytest.mark.parametrize(
    ("recipients", "holds"),
    [(("a@x.org", "B@X.org"), True), (("a@x.org", "b@y.org"), False), ((), False)],
)
def test_recipient_holds_only_if_every_recipient_matches(recipients: tuple[str, ...], holds: bool):
    """One recipient elsewhere, or none at all, and the condition does not hold."""
    when = SmtpMailWhen.model_validate({"recipient": "*@x.org"})
    assert (when.refuse(MailFacts(recipients=recipients)) is None) is holds


def test_the_null_sender_can_be_named():
    """The empty sender of a bounce is written <>."""
    when = SmtpMailWhen.model_validate({"sender": "<>"})
    assert when.refuse(MailFacts(sender="")) is None
    assert when.refuse(MailFacts(sender="a@b")) is not None


def test_virus_status_is_a_set():
    """A condition on several statuses holds for each of them and for no other."""
    when = SmtpMailWhen.model_validate({"virus-status": ["skipped", "unknown"]})
    held = {status for status in Status if when.refuse(MailFacts(status=status)) is None}
    assert held == {Status.SKIPPED, Status.UNKNOWN}


def test_virus_name_looks_at_every_virus_of_a_mail_and_at_a_documents_own():
    """In a mail-acl any document's virus counts, in a doc-acl only the document's."""
    eicar = DocumentFacts(status=Status.FOUND, virus="Win.Eicar-1")
    clean = DocumentFacts(status=Status.FREE)
    named = {"virus-name": "*eicar*"}
    assert SmtpMailWhen.model_validate(named).refuse(MailFacts(documents=(clean, eicar))) is None
    assert SmtpMailWhen.model_validate(named).refuse(MailFacts(documents=(clean,))) == "virus-name is not known"
    document = MailDocument(
        status=Status.FREE, client=None, user=None, server=None, at=None, direction="download", sender="", recipients=()
    )
    assert SmtpDocumentWhen.model_validate(named).refuse(document) == "virus-name is not known"


def test_a_urls_query_is_matched_and_not_told():
    """Why a URL did not match is read by people and kept on flows: it has no query, which may hold a secret."""
    assert refuse({"url": "*token=s*"}, url="http://o/a?token=secret") is None
    assert refuse({"url": "*/b*"}, url="http://o/a?token=secret") == "url is http://o/a?..., not */b*"
    assert refuse({"url": "*/b*"}, url="http://o/a") == "url is http://o/a, not */b*"
