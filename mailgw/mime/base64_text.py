"""Base64 as readers decode it: strictly, and in the laxer ways that are known.

Rules of this file: pieces in, pieces out; no more than a piece is held; nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_JUNK = bytes(set(range(256)) - set(_ALPHABET) - set(b"="))
_JUNK_OR_PADDING = _JUNK + b"="
_BLANK = b" \t\r\n"
_FIRST_JUNK = re.compile(rb"[^A-Za-z0-9+/=\s]")
_SNIFFED = re.compile(rb"\s*(?:[A-Za-z0-9+/]{16,}={0,2}[ \t]*(?:\r?\n|\Z))+")
# Such a mail is ambiguous anyway.
_MOST_STRETCHES = 200_000
_WHOLE = re.compile(rb"(?:=|[^=]{4})*")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]


class Base64Check:
    """Sees the encoded pieces go by; `strict` at the end says whether all readers decode them alike."""

    def __init__(self) -> None:
        self._count = 0
        self._padding = 0
        self._strict = True

    def see(self, piece: bytes) -> None:
        """One more piece."""
        text = piece.translate(None, _BLANK)
        if not self._strict or not text:
            return
        if self._padding:
            self._padding += len(text)
            self._strict = not text.strip(b"=")
        else:
            letters = text.rstrip(b"=")
            self._padding = len(text) - len(letters)
            # As `[A-Za-z0-9+/]*={0,2}`, which takes three times as long.
            self._strict = self._padding <= 2 and not letters.translate(None, _ALPHABET)
        self._count += len(text)

    @property
    def strict(self) -> bool:
        """True for the alphabet, line ends and blanks, with its padding at the end."""
        return self._strict and self._count % 4 == 0 and self._padding <= 2


def decode(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Junk is skipped, and padding where none can be; other padding ends it. Every piece is asked for all the same."""
    rest, ended = b"", False
    for piece in pieces:
        if ended:
            continue
        text = rest + piece.translate(None, _JUNK)
        padded = text.find(b"=")
        whole = _WHOLE.match(text, padded - padded % 4) if padded >= 0 else None
        cut = whole.end() if whole else len(text) - len(text) % 4
        yield binascii.a2b_base64(text[:cut].replace(b"=", b""))
        rest, padding, _ = text[cut:].partition(b"=")
        ended = bool(padding)
    yield _decode_rest(rest)


def decode_restarted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Junk is skipped; behind padding another stretch of base64 begins."""
    rest, left = b"", _MOST_STRETCHES
    for piece in pieces:
        *whole, last = (rest + piece.translate(None, _JUNK)).split(b"=")
        stretches = [stretch for stretch in whole if stretch][: max(0, left)]
        left -= len(stretches)
        yield b"".join(map(_decode_all, stretches))
        cut = len(last) - len(last) % 4
        yield binascii.a2b_base64(last[:cut])
        rest = last[cut:]
    yield _decode_rest(rest)


def decode_through(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Junk and padding are skipped, all the rest is one stretch."""
    rest = b""
    for piece in pieces:
        text = rest + piece.translate(None, _JUNK_OR_PADDING)
        cut = len(text) - len(text) % 4
        yield binascii.a2b_base64(text[:cut])
        rest = text[cut:]
    yield _decode_rest(rest)


def decode_until_junk(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The first character that is none of base64's ends it."""
    yield from decode(_until_junk(pieces))


def decode_url_safe(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 4648 5: hyphen and underscore are letters."""
    yield from decode(piece.translate(_URL_SAFE) for piece in pieces)


LENIENT: dict[str, Decoder] = {
    "base64-restarted": decode_restarted,
    "base64-through": decode_through,
    "base64-until-junk": decode_until_junk,
    "base64-url-safe": decode_url_safe,
}
"""The ways besides `decode`, by the name of the view that they make."""


def looks_like_base64(head: bytes) -> bool:
    """True where the first bytes of a text are lines of base64 and nothing else."""
    match = _SNIFFED.match(head)
    return match is not None and match.end() >= min(len(head), 64)


def _until_junk(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        match = _FIRST_JUNK.search(piece)
        if match:
            yield piece[: match.start()]
            return
        yield piece


def _decode_all(letters: bytes) -> bytes:
    cut = len(letters) - len(letters) % 4
    return binascii.a2b_base64(letters[:cut]) + _decode_rest(letters[cut:])


def _decode_rest(letters: bytes) -> bytes:
    """Two or three letters whose padding is missing; a single one says nothing."""
    return binascii.a2b_base64(letters + b"=" * (4 - len(letters))) if len(letters) in (2, 3) else b""
