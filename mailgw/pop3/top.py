"""TOP (RFC 1939, 7): a mail's header, the empty line behind it, and some lines of its body.

Rules of this file: no I/O but reading the mail; nothing is held but a piece.
"""

from __future__ import annotations

from mailgw.mime.window import Readable

_PIECE = 256 * 1024


def measure_top(mail: Readable, lines: int) -> int:
    """How many octets of the mail TOP gives."""
    at = _find(mail, b"\r\n\r\n", 0, 1)
    if mail.read(0, 2) == b"\r\n":
        at = 2
    return _find(mail, b"\r\n", at, lines) if lines else at


def _find(mail: Readable, needle: bytes, at: int, times: int) -> int:
    """The offset behind the needle's n-th place from `at` on; the mail's size where there are fewer."""
    while at < mail.size:
        data = mail.read(at, _PIECE)
        if data.count(needle) >= times:
            place = 0
            for _ in range(times):
                place = data.find(needle, place) + len(needle)
            return at + place
        # A needle may lie across the end of the piece: what could be its beginning is read again.
        last = data.rfind(needle) + len(needle) if needle in data else 0
        step = max(last, len(data) - len(needle) + 1) if at + len(data) < mail.size else len(data)
        times -= data[:step].count(needle)
        at += step
    return mail.size
