"""Where a mail transaction stands (RFC 5321, 4.1.4; RFC 3030 for BDAT).

Rules of this file: no I/O; the table below is all there is to know of the order of commands that we answer ourselves;
MAIL and RCPT out of order are the next hop's to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """What has happened so far."""

    NONE = "none"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command cannot come now."""

    code: int
    enhanced: str
    text: str


_NO_MAIL = Refusal(503, "5.5.1", "need MAIL first")
_NO_RCPT = Refusal(554, "5.5.1", "no valid recipients")
_CHUNKS = Refusal(503, "5.5.1", "not between two BDAT")

_OUT_OF_ORDER: dict[tuple[str, Stage], Refusal] = {
    ("DATA", Stage.NONE): _NO_MAIL,
    ("DATA", Stage.SENDER): _NO_RCPT,
    ("DATA", Stage.CHUNKS): _CHUNKS,
    ("BDAT", Stage.NONE): _NO_MAIL,
    ("BDAT", Stage.SENDER): _NO_RCPT,
    ("MAIL", Stage.CHUNKS): _CHUNKS,
    ("RCPT", Stage.CHUNKS): _CHUNKS,
    ("AUTH", Stage.SENDER): Refusal(503, "5.5.1", "not within a mail"),
    ("AUTH", Stage.RECIPIENT): Refusal(503, "5.5.1", "not within a mail"),
    ("AUTH", Stage.CHUNKS): _CHUNKS,
    ("XFORWARD", Stage.CHUNKS): _CHUNKS,
    ("STARTTLS", Stage.SENDER): Refusal(503, "5.5.1", "not within a mail"),
    ("STARTTLS", Stage.RECIPIENT): Refusal(503, "5.5.1", "not within a mail"),
    ("STARTTLS", Stage.CHUNKS): _CHUNKS,
}


@dataclass(slots=True)
class Transaction:
    """The envelope that the next hop has accepted so far."""

    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    stage: Stage = Stage.NONE

    def refuse(self, verb: str) -> Refusal | None:
        """Why a command cannot come now, or None."""
        return _OUT_OF_ORDER.get((verb, self.stage))

    def accept_sender(self, address: str) -> None:
        """The next hop took MAIL."""
        self.sender, self.stage = address, Stage.SENDER
        self.recipients = []

    def accept_recipient(self, address: str) -> None:
        """The next hop took RCPT."""
        self.recipients.append(address)
        if self.stage is Stage.SENDER:
            self.stage = Stage.RECIPIENT

    def begin_chunks(self) -> None:
        """The first BDAT came."""
        self.stage = Stage.CHUNKS

    def reset(self) -> None:
        """RSET, HELO, EHLO, or the mail's end."""
        self.sender, self.recipients, self.stage = "", [], Stage.NONE
