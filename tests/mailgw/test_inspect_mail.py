"""How what the engines say of a mail's parts becomes what happens to the mail."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from mailgw.envelope import Envelope
from mailgw.inspect_mail import inspect_mail
from mailgw.outcome import MailOutcome, find_message_id, make_record
from policy.load import load
from policy.model import SmtpProxy
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.engine import Body

HEAD = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
TWO = HEAD + b"--x\r\n\r\none\r\n--x\r\nContent-Type: text/html\r\n\r\ntwo\r\n--x--\r\n"
ODD = TWO.replace(b"MIME-Version", b"Content-Type: text/plain\r\nMIME-Version")

POLICY = """\
antivirus:
  AV: {{protocol: builtin}}
audit: {{to: {0}/audit}}
smtp-proxy:
  SMTP:
    listen: 127.0.0.1:0
    server: 127.0.0.1:1
    use-antivirus: [AV]
    mail-acl:
      - {{name: FOUND, when: {{virus-status: [found]}}, action: deny}}
      - {{name: UNSURE, when: {{virus-status: [skipped, unknown]}}, action: discard}}
      - {{name: OK, action: accept}}
    doc-acl:
      - {{name: HTML, when: {{content-type: ["text/html"]}}, action: {1}}}
      - {{name: ALL, action: accept}}
"""


def delivered(outcome: MailOutcome) -> bytes:
    """The changed mail's octets."""
    assert outcome.decision.action == "accept"
    assert outcome.form is not None
    return outcome.form.read(0, outcome.form.size)


type Judge = Callable[..., Awaitable[MailOutcome]]


class Scripted:
    """Says of a body what `words` say of the first text found in it; `free` of all else."""

    def __init__(self, words: dict[bytes, Status], extra: Callable[[bytes], Status | None]) -> None:
        self.words, self.further = words, extra

    async def check(self, body: Body) -> ScanReport:
        """By content."""
        data = body.read(0, body.size)
        status = self.further(data) or next((word for text, word in self.words.items() if text in data), Status.FREE)
        virus = "Test" if status is Status.FOUND else None
        return ScanReport(antivirus="AV", protocol="scripted", status=status, virus=virus)


@pytest.fixture
async def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    """Judges a mail by what engines are scripted to say."""
    audit = AuditLog(tmp_path / "audit")

    outcomes: list[tuple[Checkpoint[SmtpProxy], MailOutcome]] = []

    async def run(
        mail: bytes,
        words: dict[bytes, Status],
        html: str = "accept",
        extra: Callable[[bytes], Status | None] = lambda data: None,
    ) -> MailOutcome:
        file = tmp_path / "policy.yaml"
        file.write_text(POLICY.format(tmp_path, html))
        policy = load(file)
        checkpoint: Checkpoint[SmtpProxy] = Checkpoint(policy, "smtp-proxy.SMTP", policy.smtp_proxy["SMTP"], audit)
        monkeypatch.setattr(Antivirus, "check", Scripted(words, extra).check)
        outcome = await inspect_mail(checkpoint, Envelope(session="s", engines=("AV",)), MemoryBody(mail))
        await checkpoint.close(0)
        outcomes.append((checkpoint, outcome))
        return outcome

    yield run
    for checkpoint, outcome in outcomes:
        outcome.close()
        assert checkpoint.room.used == 0
    await asyncio.to_thread(audit.close)


async def test_a_clean_mail_passes_with_each_document_listed(judge: Judge) -> None:
    """Part, type, status and action of each."""
    outcome = await judge(TWO, {})
    assert (outcome.decision.action, outcome.decision.status) == ("accept", "free")
    listed = [(d.part, d.content_type, d.status, d.action) for d in outcome.documents]
    assert listed == [("1", "text/plain", "free", "accept"), ("2", "text/html", "free", "accept")]


async def test_one_infected_part_is_an_infected_mail(judge: Judge) -> None:
    """The others stay what they are."""
    outcome = await judge(TWO, {b"two": Status.FOUND})
    assert (outcome.decision.acl, outcome.virus) == ("FOUND", "Test")
    assert [d.status for d in outcome.documents] == ["free", "found"]


async def test_what_only_the_raw_mail_shows_is_in_every_document(judge: Judge) -> None:
    """No leaf is found, the whole is."""
    outcome = await judge(TWO, {b"boundary=": Status.FOUND})
    assert outcome.decision.acl == "FOUND"
    assert [(d.status, d.virus) for d in outcome.documents] == [("found", "Test")] * 2


@pytest.mark.parametrize(
    ("raw", "leaf", "merged"),
    [
        (Status.SKIPPED, Status.FREE, "free"),
        (Status.SKIPPED, Status.UNKNOWN, "unknown"),
        (Status.UNKNOWN, Status.FREE, "unknown"),
        (Status.ERROR, Status.FREE, "error"),
        (Status.FREE, Status.SKIPPED, "skipped"),
        (Status.FREE, Status.ERROR, "error"),
    ],
)
async def test_the_raw_mail_joins_the_merge(judge: Judge, raw: Status, leaf: Status, merged: str) -> None:
    """But for its `skipped`, which says nothing where every leaf is free."""
    outcome = await judge(TWO, {b"boundary=": raw, b"two": leaf})
    assert outcome.decision.status == merged


async def test_an_error_is_deferred(judge: Judge) -> None:
    """No mail-acl here names it."""
    assert (await judge(TWO, {b"one": Status.ERROR})).decision.action == "defer"


@pytest.mark.parametrize(
    ("word", "status"), [(Status.FREE, "unknown"), (Status.ERROR, "error"), (Status.FOUND, "found")]
)
async def test_an_ambiguous_mail_is_one_document(judge: Judge, word: Status, status: str) -> None:
    """Found where any view is, else error, else unknown; never free."""
    outcome = await judge(ODD, {b"two": word})
    assert [(d.part, d.status) for d in outcome.documents] == [("", status)]
    assert outcome.decision.status == status
    assert outcome.detail


async def test_a_document_is_replaced_and_its_siblings_stay(judge: Judge, tmp_path: Path) -> None:
    """The text takes its place, our fields stand in the header, all other octets are those that came."""
    (tmp_path / "note.txt").write_text("{filename} was {status} ({nothing})\n")
    outcome = await judge(b"X-Sluice-Virus-Status: forged\r\n" + TWO, {}, html="replace, replace: note.txt")
    assert [d.action for d in outcome.documents] == ["accept", "replace"]
    text = b64encode(b"- was free ({nothing})\r\n")
    part = b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text
    fields = b"X-Sluice-Virus-Status: free\r\nX-Sluice-Virus-Name: -\r\n"
    assert delivered(outcome) == fields + TWO.replace(b"\r\nContent-Type: text/html\r\n\r\ntwo", part)


@pytest.mark.parametrize(
    ("still_found", "left"),
    [(b"one", [b"--x"]), (b"--x", [b"MIME-Version"])],
)
async def test_what_is_still_found_takes_more_away(
    judge: Judge, tmp_path: Path, still_found: bytes, left: list[bytes]
) -> None:
    """All leaves, then the whole body."""
    (tmp_path / "note.txt").write_text("away\n")
    calls = 0

    def found_later(data: bytes) -> Status | None:
        nonlocal calls
        calls += data.startswith((b"MIME-Version", b"X-Sluice"))
        return Status.FOUND if calls > 1 and still_found in data else None

    outcome = await judge(TWO, {}, html="replace, replace: note.txt", extra=found_later)
    mail = delivered(outcome)
    assert still_found not in mail
    assert b64encode(b"away\r\n") in mail
    assert all(piece in mail for piece in left)


async def test_what_no_replacement_cleans_is_refused(judge: Judge, tmp_path: Path) -> None:
    """Nothing goes on, no room is held."""
    (tmp_path / "note.txt").write_text("away\n")
    calls = 0

    def found_later(data: bytes) -> Status | None:
        nonlocal calls
        calls += data.startswith((b"MIME-Version", b"X-Sluice"))
        return Status.FOUND if calls > 1 else None

    outcome = await judge(TWO, {}, html="replace, replace: note.txt", extra=found_later)
    assert (outcome.decision.action, outcome.decision.reason, outcome.form) == ("deny", "virus-found", None)


async def test_a_replacement_that_cannot_be_read_defers(judge: Judge, tmp_path: Path) -> None:
    """The mail is not delivered as it is."""
    note = tmp_path / "note.txt"
    note.write_text("away\n")
    outcome = await judge(TWO, {}, html="replace, replace: note.txt", extra=lambda _: note.unlink(missing_ok=True))
    assert (outcome.decision.action, outcome.form) == ("defer", None)


async def test_a_check_that_breaks_is_an_error(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised, nothing passes."""

    def no_room(*given: object, **named: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("mailgw.division.read_mail", no_room)
    outcome = await judge(TWO, {})
    assert (outcome.decision.action, outcome.decision.status) == ("defer", "error")
    assert "no room" in outcome.detail


@pytest.mark.parametrize(
    ("mail", "found"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "<a@b>"),
        (b"x: y\r\nmessage-id:\r\n <a@b>\r\n\r\n", "<a@b>"),
        (b"x: y\r\n\r\nMessage-ID: <a@b>\r\n", None),
        (b"Message-ID: a\x1bb\r\n\r\n", None),
        (b"", None),
    ],
)
def test_the_message_id_is_the_headers(mail: bytes, found: str | None) -> None:
    """Well-formed, and not one of the body's."""
    assert find_message_id(MemoryBody(mail)) == found


async def test_a_record_holds_no_content(judge: Judge) -> None:
    """Envelope addresses and text stay out; status and documents are in."""
    outcome = await judge(TWO, {})
    envelope = Envelope(session="s", sender="secret@example.org", recipients=("secret@example.com",))
    line = make_record("smtp-proxy.SMTP", envelope, MemoryBody(TWO), outcome).to_json()
    assert "secret" not in line
    assert '"event": "mail"' in line
