"""What the quarantine says of a mail."""

from __future__ import annotations

import json

import pytest

from inspection.kept_mail import MOST_COMMANDS, KeptMail, read_subject
from inspection.quarantine import Quarantine
from inspection.record import DocumentEntry, new_id
from inspection.shelf import MAX_METADATA
from policy.verdict import Status
from scanners.body import MemoryBody


def test_what_is_known_is_plain_data():
    """Unknown fields are left out; the null sender is not unknown; documents and the tag are there."""
    mail = KeptMail(
        proxy="smtp-proxy.SMTP",
        sender="",
        recipients=("a@x",),
        status=Status.FOUND,
        acl="VIRUS",
        documents=(DocumentEntry(part="1", status=Status.FOUND, virus="Eicar"),),
    )
    assert json.loads(json.dumps(mail.as_metadata())) == {
        "event": "mail",
        "proxy": "smtp-proxy.SMTP",
        "session": "",
        "sender": "",
        "recipients": ["a@x"],
        "status": "found",
        "acl": "VIRUS",
        "tag": "ACL3M:VIRUS",
        "documents": [{"part": "1", "status": "found", "virus": "Eicar"}],
    }


def test_logins_are_taken_off_commands():
    """Of a command that carries a login only its name is kept; lines are cut, made visible and bounded in number."""
    lines = ["EHLO x\r\n", "AUTH PLAIN AGEAYg==", "a1 LOGIN me secret", "PASS secret", "NOOP\x1b" + "x" * 9000]
    kept = KeptMail(proxy="p", commands=lines * 100).as_metadata()["commands"]
    assert kept[:4] == ["EHLO x", "AUTH ...", "a1 LOGIN ...", "PASS ..."]
    assert kept[4].startswith("NOOP\\u001bxxx")
    assert max(map(len, kept)) < 600
    assert len(kept) == MOST_COMMANDS


@pytest.mark.parametrize(
    ("mail", "subject"),
    [
        (b"Subject: hello\r\n\r\nbody", "hello"),
        (b"From: x\r\nSUBJECT:  two\r\n lines \r\nTo: y\r\n\r\n", "two lines"),
        (b"Subject: =?utf-8?b?xZllxI0=?= =?iso-8859-2?q?=E8?=\r\n\r\n", "\u0159e\u010d\u010d"),
        (b"Subject: =?nonsense?q?x?=\r\n\r\n", "=?nonsense?q?x?="),
        (b"Subject: =?utf-8?b?x?=\r\n\r\n", "=?utf-8?b?x?="),
        (b"Subject: raw \xff\r\n\r\n", "raw \\xff"),
        (b"Subject: one\nSubject: two\n\nbody", "one"),
        (b"From: x\r\n\r\nSubject: in the body\r\n", None),
        (b"", None),
    ],
)
def test_subjects(mail: bytes, subject: str | None):
    """The first one of the header, unfolded and decoded; what cannot be decoded is given as it stands."""
    assert read_subject(MemoryBody(mail)) == subject


async def test_metadata_can_always_be_read_back(tmp_path):
    """Where a peer made the documents too many to be read back, they are left out, and the entry says so."""
    tmp_path.chmod(0o700)
    quarantine = Quarantine(tmp_path, 3600.0, 10**9)
    documents = tuple(DocumentEntry(part=str(n), filename="x" * 2000) for n in range(MAX_METADATA // 2000 + 1))
    entry = await quarantine.keep(new_id(), MemoryBody(b"x"), KeptMail(proxy="p", documents=documents).as_metadata())
    (kept,) = quarantine.entries()
    assert kept.id == entry
    assert kept.metadata["documents"] == "left out: too long"
    quarantine.close()
