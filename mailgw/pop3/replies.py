"""POP3 replies: read from a server, made by us (RFC 1939, 3; RFC 2449, 8 for the codes in brackets).

Rules of this file: no I/O; a status line is relayed as the octets that came; lines are bounded; what is no reply ends
the connection, it is never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 4096  # octets of a status line; RFC 1939 says 512
MAX_LIST_LINE = 1024  # of a line of LIST, UIDL or CAPA
MAX_LIST = 64 << 20  # octets of such a list: a million of the longest unique ids
_STATUS = re.compile(rb"(\+OK|-ERR)(?: [^\x00\r\n]*)?")
_CHALLENGE = re.compile(rb"\+ [A-Za-z0-9+/=]*|\+")
_END = b"\r\n.\r\n"


class ReplyFault(ValueError):
    """The server said what is no reply (remote fault, temporary)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One status line, without its end. `challenge`: a login goes on (RFC 5034)."""

    line: bytes
    challenge: bool = False

    @property
    def good(self) -> bool:
        """True for +OK."""
        return self.line.startswith(b"+OK")

    def wire(self) -> bytes:
        """The octets to send."""
        return self.line + b"\r\n"

    def __str__(self) -> str:
        return self.line.decode("utf-8", "backslashreplace")


def refuse(text: str, *, code: str = "") -> Reply:
    """One of ours. The text is cut down to printable ASCII: no reply of ours has a line end in it."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)[:400]
    return Reply(f"-ERR {f'[{code}] ' if code else ''}{printable}".encode("ascii"))


def take_reply(inbox: bytearray, *, login: bool = False) -> Reply | None:
    """Take one status line off the front; None while it is not complete. Raises ReplyFault.

    With `login` it may be a challenge. A line may end in LF alone: it goes on with CRLF."""
    end = inbox.find(b"\n", 0, MAX_LINE)
    if end < 0:
        if len(inbox) >= MAX_LINE:
            raise ReplyFault(f"a line of more than {MAX_LINE} octets")
        return None
    raw = bytes(inbox[:end]).removesuffix(b"\r")
    challenge = login and _CHALLENGE.fullmatch(raw) is not None
    if not challenge and not _STATUS.fullmatch(raw):
        raise ReplyFault("what came is no reply")
    del inbox[: end + 1]
    return Reply(raw, challenge)


class ListReader:
    """Takes the lines of LIST, UIDL or CAPA off the front, as they came, up to and with the final dot. `done` then."""

    def __init__(self) -> None:
        self.done = False
        self._held = bytearray(b"\r\n")  # the status line's end
        self._given = -2
        self._size = 0
        self._line = 0  # octets of the line that has not ended yet

    def take(self, inbox: bytearray) -> bytes:
        """The next octets; what stands behind the end stays in `inbox`. Raises ReplyFault."""
        held = self._held
        start = max(0, len(held) - 4)
        self._size += len(inbox)
        self._line = len(inbox) - inbox.rfind(b"\n") - 1 + (0 if b"\n" in inbox else self._line)
        held += inbox
        end = held.find(_END, start)
        if end >= 0:
            rest = len(held) - end - len(_END)
            del inbox[: len(inbox) - rest]
            self.done = True
            return self._give(end + len(_END))
        inbox.clear()
        if self._size > MAX_LIST or self._line > MAX_LIST_LINE:
            raise ReplyFault("a list, or a line of one, without end")
        return self._give(max(0, len(held) - 4))

    def _give(self, length: int) -> bytes:
        """What was added in front, the status line's end, is not given twice."""
        raw = bytes(self._held[:length])
        del self._held[:length]
        hidden, self._given = max(0, -self._given), self._given + len(raw)
        return raw[hidden:]
