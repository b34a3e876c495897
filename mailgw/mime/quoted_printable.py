"""Quoted-printable as readers decode it.

Rules of this file: pieces in, pieces out; no more than a piece and a line's end are held; nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

_ESCAPE = re.compile(rb"=(?:[0-9A-Fa-f]{2}|[ \t]*\r?\n)")
# Blanks behind a soft line break: some readers drop the break, some keep all of it.
_BROKEN = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
_BROKEN_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n)")
# The look behind keeps a long run of blanks from being tried from each of its bytes.
_TRAILING = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n)")
_SOFT_BLANKS = re.compile(rb"=[ \t]+(?=\r?\n)")
# Cut where neither an escape nor blanks before a line end are divided.
_TAIL = re.compile(rb"(?:=[0-9A-Fa-f]?|=?[ \t]*\r?)\Z")
_LONGEST_TAIL = 1024
# Of one piece; such a mail is ambiguous anyway, and replacing millions takes long.
_MOST_BROKEN = 4096


class QuotedPrintableCheck:
    """Sees the encoded pieces go by; `strict` at the end says whether every escape is one."""

    def __init__(self) -> None:
        self._strict = True
        self._tail = b""

    def see(self, piece: bytes) -> None:
        """One more piece."""
        text = self._tail + piece
        cut = _whole(text)
        self._tail = text[cut:]
        if self._strict and _BROKEN.search(text[:cut]):
            self._strict = False

    @property
    def strict(self) -> bool:
        """Asked at the end. A soft break's line end may be the boundary's."""
        return self._strict and self._tail.strip(b" \t\r") in (b"", b"=") and not self._tail.startswith((b"= ", b"=\t"))


def decode(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 2045 6.7: blanks at a line's end are dropped; what is no escape stands for itself."""
    for text in _wholes(pieces):
        yield binascii.a2b_qp(_escape_broken(_drop_trailing(_drop_soft_blanks(text))))


def decode_with_blanks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As `decode`, with the blanks at the ends of lines."""
    for text in _wholes(pieces):
        yield binascii.a2b_qp(_escape_broken(_drop_soft_blanks(text)))


def decode_without_broken(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As `decode`, without the equals signs that begin no escape."""
    for text in _wholes(pieces):
        yield binascii.a2b_qp(_BROKEN_ESCAPE.sub(b"", _drop_soft_blanks(text), _MOST_BROKEN))


def has_escapes(head: bytes) -> bool:
    """True where a text would be another, were it quoted-printable."""
    return _ESCAPE.search(head) is not None


def has_trailing_blanks(piece: bytes) -> bool:
    """True where readers may differ about blanks."""
    return _may_trail(piece) and _TRAILING.search(piece) is not None


def _may_trail(text: bytes) -> bool:
    # Finding these takes a tenth of what the expression takes, and most texts have none.
    return any(end in text for end in (b" \r", b" \n", b"\t\r", b"\t\n"))


def _drop_trailing(text: bytes) -> bytes:
    return _TRAILING.sub(b"", text) if _may_trail(text) else text


def _drop_soft_blanks(text: bytes) -> bytes:
    return _SOFT_BLANKS.sub(b"=", text) if b"= " in text or b"=\t" in text else text


def _escape_broken(text: bytes) -> bytes:
    # The C decoder skips to the next line where a bare CR follows, and does other things that no reader does.
    if b"=" not in text:
        return text
    return _BROKEN_ESCAPE.sub(b"=3D", text, _MOST_BROKEN)


def _wholes(pieces: Iterable[bytes]) -> Iterator[bytes]:
    tail = b""
    for piece in pieces:
        text = tail + piece
        cut = _whole(text)
        yield text[:cut]
        tail = text[cut:]
    if tail:
        yield tail.rstrip(b"=") if tail.startswith(b"=") and not tail[1:].strip() else tail


def _whole(text: bytes) -> int:
    """Where a piece may be cut."""
    match = _TAIL.search(text, max(0, len(text) - _LONGEST_TAIL))
    return match.start() if match else len(text)
