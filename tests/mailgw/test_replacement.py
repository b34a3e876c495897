"""Mails with documents replaced and headers edited."""

from __future__ import annotations

import pytest

from mailgw.replacement import Change, Edits, fill_in, rewrite
from scanners.body import MemoryBody


def edit(mail: bytes, **edits: object) -> bytes:
    """The whole mail as edited; its header ends at the first empty line."""
    top = mail.find(b"\r\n\r\n") + 4
    return b"".join(rewrite(MemoryBody(mail), Edits(top=top, **edits)))  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("subject", "prefixed"),
    [
        (b"Subject: hello\r\n", b"Subject: [X] hello\r\n"),
        (b"subject:hello\r\n", b"Subject: [X] hello\r\n"),
        (b"Subject:\r\n folded\r\n", b"Subject: [X] \r\n folded\r\n"),
        (b"Subject: =?utf-8?q?=C3=A4?=\r\n", b"Subject: [X] =?utf-8?q?=C3=A4?=\r\n"),
        (b"Subject: [X] hello\r\n", b"Subject: [X] hello\r\n"),
        (b"Subject: a\r\nSubject: b\r\n", b"Subject: [X] a\r\nSubject: b\r\n"),
        (b"From: a\r\n", b"From: a\r\nSubject: [X]\r\n"),
        (b"Subject: " + b"y" * 986 + b"\r\n", b"Subject: [X] \r\n " + b"y" * 986 + b"\r\n"),
    ],
)
def test_the_subject_is_prefixed_and_nothing_else_changes(subject: bytes, prefixed: bytes) -> None:
    """Its value's octets stay, coded or folded; only the first; not twice; a long line is folded; none is made."""
    assert edit(subject + b"\r\nbody\r\n", prefix="[X] ") == prefixed + b"\r\nbody\r\n"


def test_a_prefix_outside_ascii_is_an_encoded_word() -> None:
    """Its trailing blank stands inside, for between two encoded-words blanks are dropped."""
    assert edit(b"Subject: a\r\n\r\n", prefix="Ä ") == b"Subject: =?utf-8?B?w4Qg?= a\r\n\r\n"


def test_a_mail_of_one_part_keeps_its_fields_but_content() -> None:
    """The text in base64, and MIME-Version where there was none."""
    mail = b"From: a\r\nContent-Type: text/html;\r\n charset=x\r\nTo: b\r\n\r\nbad\r\n"
    change = Change(0, mail.find(b"bad"), len(mail), "gone\n")
    head = b"From: a\r\nTo: b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    assert edit(mail, changes=[change]) == head + b"MIME-Version: 1.0\r\n\r\nZ29uZQ0K\r\n"


def test_of_an_odd_header_only_what_is_well_formed_stays() -> None:
    """Where the whole body goes nothing is left that readers could disagree on."""
    mail = b"From: a\r\njunk\r\nX : y\r\nX-Nul: \0\r\n\r\nbad\r\n"
    change = Change(0, mail.find(b"bad"), len(mail), "gone\n", strict=True)
    assert edit(mail, changes=[change]).startswith(b"From: a\r\nContent-Type: text/plain")


def test_forged_fields_of_ours_are_taken_off() -> None:
    """Also folded ones, in any case; what we write holds no line end."""
    mail = b"X-SLUICE-Virus-Status: free\r\n folded\r\nFrom: a\r\n\r\nx\r\n"
    edited = edit(mail, fields={"Virus-Status": "found", "Virus-Name": "a\r\nb\x1b"})
    assert edited == b"X-Sluice-Virus-Status: found\r\nX-Sluice-Virus-Name: a??b?\r\nFrom: a\r\n\r\nx\r\n"


def test_placeholders_are_filled_in_once() -> None:
    """A value that looks like one stays, control characters are shown, others' braces are left alone."""
    assert fill_in("{virus} {id} {x}", {"virus": "{id}\x1b", "id": "7"}) == "{id}\\u001b 7 {x}"
