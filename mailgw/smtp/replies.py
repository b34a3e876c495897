"""SMTP replies: read from a next hop, made by us (RFC 5321, 4.2; RFC 3463 for the enhanced codes).

Rules of this file: no I/O; a reply is relayed as the octets that came; lines and their number are bounded; what is no
reply ends the connection, it is never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 4096  # octets of one line; RFC 5321 says 512
MAX_LINES = 256
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])[^\x00\r\n]*)?")


class ReplyFault(ValueError):
    """The next hop said what is no reply (remote fault, temporary)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply; `lines` as they came, each without its line end."""

    code: int
    lines: tuple[bytes, ...]

    @classmethod
    def make(cls, code: int, enhanced: str, *texts: str) -> Reply:
        """One of ours. Texts are cut down to printable ASCII: no reply of ours has a line end in it."""
        head = f"{enhanced} " if enhanced else ""
        last = len(texts) - 1
        return cls(code, tuple(_line(code, head + text, more=n < last) for n, text in enumerate(texts)))

    @property
    def texts(self) -> tuple[bytes, ...]:
        """The lines behind code and separator."""
        return tuple(line[4:] for line in self.lines)

    @property
    def good(self) -> bool:
        """True for 2xx."""
        return 200 <= self.code < 300

    def wire(self) -> bytes:
        """The octets to send."""
        return b"".join(line + b"\r\n" for line in self.lines)

    def __str__(self) -> str:
        return self.lines[-1].decode("utf-8", "backslashreplace")


def _line(code: int, text: str, *, more: bool) -> bytes:
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)[:500]
    return f"{code}{'-' if more else ' '}{printable}".encode("ascii")


def take_reply(inbox: bytearray) -> Reply | None:
    """Take one whole reply off the front; None while it is not complete. Raises ReplyFault.

    A line may end in LF alone: it goes on with CRLF."""
    lines: list[bytes] = []
    start = 0
    while (end := inbox.find(b"\n", start)) >= 0:
        raw = bytes(inbox[start:end]).removesuffix(b"\r")
        found = _LINE.fullmatch(raw)
        if found is None or len(raw) > MAX_LINE or (lines and found[1] != lines[0][:3]):
            raise ReplyFault("what came is no reply")
        lines.append(raw)
        start = end + 1
        if found[2] != b"-":
            del inbox[:start]
            return Reply(int(found[1]), tuple(lines))
        if len(lines) >= MAX_LINES:
            raise ReplyFault(f"a reply of more than {MAX_LINES} lines")
    if len(inbox) - start > MAX_LINE:
        raise ReplyFault(f"a line of more than {MAX_LINE} octets")
    return None
