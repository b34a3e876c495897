"""What a client may have of a mail while it is checked: a few octets of its header, now and then.

Rules of this file: no I/O and no clock; nothing of the header's last line, nothing of the body; what was sent is a
part of what the client gets afterwards, octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mailgw.dots import stuff
from mailgw.mime.window import Readable

EVERY = 5.0  # seconds between two octets
_HEADER = 64 * 1024  # octets of a header that may be used
_FIELDS = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\r\n\0]*\r\n(?:[ \t][^\r\n\0]*\r\n)*)*")


class KeepAlive:
    """`sent`: octets of the mail, as dot-stuffed, that have left; None while not even the status line has."""

    def __init__(self) -> None:
        self.sent: int | None = None

    def begin(self) -> None:
        """The status line leaves."""
        self.sent = 0

    def next_octet(self, mail: Readable) -> bytes:
        """One more octet of a mail that may be growing; b"" where none may leave."""
        if self.sent is None:
            return b""
        header = stuffed_header(mail.read(0, _HEADER))
        octet = header[self.sent : self.sent + 1]
        self.sent += len(octet)
        return octet

    def skip_sent(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """What is left of the stuffed mail."""
        gone = self.sent or 0
        for piece in pieces:
            if gone < len(piece):
                yield piece[gone:]
            gone = max(0, gone - len(piece))


def stuffed_header(head: bytes) -> bytes:
    """The lines of a header that may leave, dot-stuffed: well-formed fields, without the last line, as far as it is
    known which that is. `head` is the mail's beginning, which may be growing."""
    end = head.find(b"\r\n\r\n")
    fields = _FIELDS.match(head, 0, end + 2 if end >= 0 else len(head))
    lines = fields[0] if fields else b""
    allowed = lines[: lines.rfind(b"\r\n", 0, max(0, len(lines) - 2)) + 2] if lines.count(b"\r\n") > 1 else b""
    return b"".join(stuff([allowed])) if allowed else b""
