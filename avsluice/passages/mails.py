"""Through an smtp-proxy: a clean mail, which arrives, and EICAR as a document, which must not.

Rules of this file: mail goes to nobody but the address that the user named; a reply with a record's id is the gateway's
own, one without it is the next hop's, and then the mail has got that far.
"""

from __future__ import annotations

import email.policy
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from avsluice.diagnosis import CLEAN, INFECTED, ZIPPED
from avsluice.passages.dialogue import Dialogue, Reply, trust
from avsluice.passages.passage import Fate
from avsluice.passages.visit import NotTried, Visit, closing
from policy.ask import decide
from policy.decision import Decision
from policy.facts import DocumentFacts, MailFacts
from policy.verdict import Status
from scanners.body import MemoryBody

_MAILS = (("clean mail", CLEAN, "clean.txt"), ("EICAR", INFECTED, "eicar.com"), ("EICAR in a zip", ZIPPED, "eicar.zip"))
_TEXT = "Sent by `avsluice doctor` to try the antivirus gateway that this mail came through. Delete it.\n"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Whom the mails go to, and from."""

    to: str
    sender: str


async def visit_mails(visit: Visit, addresses: Addresses | None) -> None:
    """Fills `visit.passages`."""
    async with visit.bounded(len(_MAILS)):
        streams = await visit.connect()
        async with closing(streams[1]):
            if addresses is None:
                raise NotTried("needs somebody who gets the mails: --mail-to ADDRESS")
            await _Session(visit, addresses, Dialogue(*streams)).run()


class _Session:
    def __init__(self, visit: Visit, addresses: Addresses, dialogue: Dialogue) -> None:
        self._visit, self._addresses, self._dialogue = visit, addresses, dialogue

    async def run(self) -> None:
        await self._greet()
        for what, body, name in _MAILS:
            await self._send(what, body, name)
        self._dialogue.say("QUIT")

    async def _greet(self) -> None:
        gateway = self._visit.gateway
        if gateway.tls.mode == "implicit":
            await self._dialogue.start_tls(trust(gateway.tls.certificate))
        _require(await self._dialogue.reply(), "the greeting", 220)
        await self._hello()
        if gateway.tls.mode == "starttls":
            _require(await self._dialogue.ask("STARTTLS"), "STARTTLS", 220)
            await self._dialogue.start_tls(trust(gateway.tls.certificate))
            await self._hello()

    async def _hello(self) -> None:
        client = self._visit.client or "127.0.0.1"
        literal = f"[IPv6:{client}]" if ":" in client else f"[{client}]"
        _require(await self._dialogue.ask(f"EHLO {literal}"), "EHLO", 250)

    async def _send(self, what: str, body: MemoryBody, name: str) -> None:
        infected = body is not CLEAN
        self._visit.begin(f"{what}, mailed", infected=infected)
        mail = self._write(body.read(0, body.size), name)
        _require(await self._dialogue.ask(f"MAIL FROM:<{self._addresses.sender}>"), "MAIL FROM", 250)
        _require(await self._dialogue.ask(f"RCPT TO:<{self._addresses.to}>"), "RCPT TO", 250, 251)
        _require(await self._dialogue.ask("DATA"), "DATA", 354)
        self._dialogue.writer.write(mail.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        reply = await self._dialogue.reply()
        decision = self._decide(body, name, len(mail), infected=infected)
        self._visit.end(_tell(reply, infected=infected), _spell(reply), decision)

    def _write(self, content: bytes, name: str) -> bytes:
        mail = EmailMessage(policy=email.policy.SMTP)
        mail["From"] = self._addresses.sender or self._addresses.to
        mail["To"] = self._addresses.to
        mail["Subject"] = f"avsluice doctor: {name}"
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = make_msgid(domain="avsluice-doctor.invalid")
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(_TEXT)
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
        return mail.as_bytes()

    def _decide(self, body: MemoryBody, name: str, size: int, *, infected: bool) -> Decision:
        text = DocumentFacts(status=Status.FREE, content_type="text/plain", size=len(_TEXT), head=_TEXT.encode())
        attached = DocumentFacts(
            status=Status.FOUND if infected else Status.FREE,
            virus="Eicar-Test-Signature" if infected else None,
            content_type="application/octet-stream",
            filename=name,
            size=body.size,
            head=body.read(0, body.size),
        )
        facts = MailFacts(
            direction="upload",
            client=self._visit.client,
            sender=self._addresses.sender,
            recipients=(self._addresses.to,),
            size=size,
            documents=(text, attached),
        )
        return decide(self._visit.policy, self._visit.label, facts)


def _require(reply: Reply, what: str, *codes: int) -> None:
    if reply.code not in codes:
        raise NotTried(f"{what}: {reply}")


def _tell(reply: Reply, *, infected: bool) -> Fate:
    """The next hop's own word on EICAR, whatever it says, is that it got there."""
    if not reply.ours:
        return Fate.DELIVERED if reply.good or (infected and reply.code // 100 == 5) else Fate.FAILED
    if reply.good:
        return Fate.DISCARDED
    return Fate.REFUSED if reply.code // 100 == 5 else Fate.DEFERRED


def _spell(reply: Reply) -> str:
    return str(reply) if reply.ours else f"{reply} (the next hop's answer)"
