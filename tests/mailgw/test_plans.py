"""What recipients are told of a signature that a replacement breaks."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import pytest

from mailgw.plans import find_layout, plan_rewrites
from policy.decision import Action, DocumentDecision, MailDecision
from policy.verdict import Status
from scanners.body import MemoryBody
from tests.mailgw.mime.views import reading

TOP = b"From: a@example.org\r\nMIME-Version: 1.0\r\n"
SIGNED = (
    b'Content-Type: multipart/signed; boundary="s"; protocol="application/pgp-signature"; micalg=pgp-sha256\r\n\r\n'
)
MIXED = b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n'
INNER = b"--s\r\n\r\nsigned\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
TWO = b"--m\r\n\r\nother\r\n--m\r\n" + SIGNED + INNER + b"--m--\r\n"
OPAQUE = (
    b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
)


def _texts(mail: bytes, *replaced: int) -> list[bytes]:
    """The texts that take the documents' places."""
    with reading(mail) as division:
        assert not division.ambiguous
        documents = tuple(
            DocumentDecision(action=Action.REPLACE if n in replaced else Action.ACCEPT, replace=Path("x"))
            for n in range(len(division.leaves))
        )
        decision = MailDecision(action=Action.ACCEPT, status=Status.FOUND, documents=documents)
        texts = ["gone\n"] * len(documents)
        plan = next(plan_rewrites(MemoryBody(mail), decision, find_layout(division), texts, {}))
        changed = b"".join(plan.write())
    found = re.findall(rb"charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n(?:[^\r\n]+\r\n)*\r\n([^-]+)", changed)
    return [b64decode(text) for text in found]


@pytest.mark.parametrize(
    ("mail", "number", "told"),
    [
        (TOP + SIGNED + INNER, 0, True),
        (TOP + MIXED + TWO, 1, True),
        (TOP + MIXED + TWO, 0, False),
        (TOP + OPAQUE, 0, True),
        (b"DKIM-Signature: v=1; b=x\r\n" + TOP + MIXED + TWO, 0, True),
        (TOP + b"\r\nplain\r\n", 0, False),
    ],
)
def test_a_broken_signature_is_told(mail: bytes, number: int, told: bool) -> None:
    """Where the replaced part was signed, by itself or with the whole mail; else the text is the file's alone."""
    [text] = _texts(mail, number)
    assert text.startswith(b"gone\r\n")
    assert (b"The signature is not valid any more" in text) is told
    assert told or text == b"gone\r\n"


def test_a_header_without_an_end_gets_one() -> None:
    """A mail by BDAT may end amid its header: what is added stands in lines of its own."""
    mail = b"MIME-Version: 1.0\r\nX: y"
    with reading(mail) as division:
        decision = MailDecision(action=Action.ACCEPT, status=Status.FOUND, prefix_subject="[X] ")
        [plan] = plan_rewrites(MemoryBody(mail), decision, find_layout(division), [], {})
        assert b"".join(plan.write()) == mail + b"\r\nSubject: [X]\r\n"
