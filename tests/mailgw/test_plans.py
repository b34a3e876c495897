"""How documents of stored mail give way, step by step, and what is refused in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.envelope import Envelope
from mailgw.inspect_mail import inspect_mail
from mailgw.outcome import MailOutcome
from mailgw.plans import find_layout
from policy.load import load
from policy.model import Pop3Proxy
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.engine import Body
from scanners.specimens import EICAR
from tests.mailgw.corpus import hiding
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, is_found, reading

POLICY = """\
antivirus: {{AV: {{protocol: builtin}}}}
audit: {{to: {0}/audit}}
pop3-proxy:
  POP3:
    listen: 127.0.0.1:0
    server: 127.0.0.1:1
    command-acl: {{name: ALL, use-antivirus: [AV]}}
    mail-acl: {{name: ALL, action: accept}}
    doc-acl:
      - {{name: BAD, when: {{virus-status: [found, skipped, unknown]}}, action: replace, replace: notice.txt}}
      - {{name: OK, action: accept}}
"""
NOTICE = "Removed: {virus} {status} {filename} {antivirus} {id}"
TWO = (
    b'Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\npreamble %s\r\n'
    b"--x\r\n\r\none %s\r\n--x\r\nContent-Type: text/html\r\n\r\ntwo %s\r\n--x--\r\n"
)

type Judge = Callable[[bytes], Awaitable[MailOutcome]]


async def check(antivirus: Antivirus, body: Body) -> ScanReport:
    """What the built-in engine says, and a word of its own."""
    found = is_found(body) or b"BAD" in body.read(0, body.size)
    status = Status.FOUND if found else Status.FREE
    return ScanReport(antivirus="AV", protocol="scripted", status=status, virus="Test" if found else None)


@pytest.fixture
async def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    """Judges a mail; everything it holds is given back at the end."""
    monkeypatch.setattr(Antivirus, "check", check)
    (tmp_path / "notice.txt").write_text(NOTICE)
    (tmp_path / "policy.yaml").write_text(POLICY.format(tmp_path))
    policy = load(tmp_path / "policy.yaml")
    audit = AuditLog(tmp_path / "audit")
    checkpoint: Checkpoint[Pop3Proxy] = Checkpoint(policy, "pop3-proxy.POP3", policy.pop3_proxy["POP3"], audit)
    outcomes: list[MailOutcome] = []

    async def run(mail: bytes) -> MailOutcome:
        outcomes.append(await inspect_mail(checkpoint, Envelope(session="s", engines=("AV",)), MemoryBody(mail)))
        return outcomes[-1]

    yield run
    for outcome in outcomes:
        outcome.close()
    assert checkpoint.room.used == 0
    await checkpoint.close(0)
    audit.close()


def shown(outcome: MailOutcome) -> bytes:
    """The covered mail."""
    assert outcome.decision.passes
    assert outcome.form is not None
    return outcome.form.read(0, outcome.form.size)


async def test_one_document_is_covered_where_that_is_enough(judge: Judge) -> None:
    """The other one stays."""
    mail = TWO % (b"", b"BAD " * 30, b"kept")
    covered = shown(await judge(mail))
    assert len(covered) == len(mail)
    assert b"\r\nRemoved: Test found - AV " in covered
    assert b"two kept" in covered
    assert b"preamble" in covered


async def test_what_lies_between_parts_takes_the_whole_body(judge: Judge) -> None:
    """Covering all leaves leaves it there; the header stays, and every length."""
    mail = TWO % (b"BAD" + b"-" * 100, b"kept", b"kept")
    covered = shown(await judge(mail))
    head, _, body = mail.partition(b"\r\n\r\n")
    assert covered.startswith(head + b"\r\n\r\nRemoved: Test found - AV ")
    assert [len(line) for line in covered.split(b"\r\n")] == [len(line) for line in mail.split(b"\r\n")]
    assert b"kept" not in covered
    assert body not in covered


async def test_what_is_found_in_the_header_is_refused(judge: Judge) -> None:
    """Headers are never covered."""
    outcome = await judge(b"Subject: BAD\r\n\r\nhello\r\n")
    assert (outcome.decision.action, outcome.decision.reason) == ("deny", "virus-found")
    assert outcome.form is None


_PLAIN = [name for name in hiding.ODD if not name.endswith(("/zip", "/gzip"))]
_SOME = sorted({*_PLAIN[::3], *(name for name in _PLAIN if name.startswith("cr-separators"))})


@pytest.mark.parametrize("name", _SOME)
async def test_an_odd_mail_is_covered_whole_or_refused(judge: Judge, name: str) -> None:
    """Whatever is delivered shows its payload to no reader, and has its length."""
    mail = hiding.ODD[name]
    outcome = await judge(mail)
    if not outcome.decision.passes:
        assert outcome.decision.action == "deny"
        return
    covered = shown(outcome)
    assert len(covered) == len(mail)
    with reading(covered) as again:
        assert not finds(again)
    assert not any(EICAR in text for read in other_readers.READERS.values() for text in read(covered))


def test_a_blurred_header_is_one_that_may_be_content() -> None:
    """But for an empty one, in which there is nothing."""
    blurred = []
    for mail in (b"A: b\rC: d\r\n\r\nx\r\n", b"odd line\r\nA: b\r\n\r\nx\r\n", b"\r\nx\r\n", b"A: b\r\n\r\nx\r\n"):
        with reading(mail) as read:
            blurred.append(find_layout(read).blurred)
    assert blurred == [True, True, False, False]
