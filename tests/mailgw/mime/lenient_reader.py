"""A mail as the laxest reader takes it, written without a look at our own reader.

Rules of this file: everything that looks like a part is one; every body is decoded in every way; it is for tests, and
knows no bounds.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator

_BOUNDARY = re.compile(rb"""boundary\*?0?\*?\s*=\s*(?:(?:us-ascii)?'')?["']?([^"'\r\n;()]+)""", re.I)
_LETTERS = re.compile(rb"[^A-Za-z0-9+/]")


def read(mail: bytes) -> Iterator[bytes]:
    """Every body that some reader might show."""
    flat = mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    unfolded = re.sub(rb"\n[ \t]+", b" ", flat)
    boundaries = {found.strip().rstrip(b"\\") for text in (flat, unfolded) for found in _BOUNDARY.findall(text)}
    pieces = [flat]
    for boundary in sorted(filter(None, boundaries), key=len):
        pieces = [part for piece in pieces for part in re.split(rb"(?mi)^--" + re.escape(boundary), piece)]
    for piece in pieces:
        for body in _bodies(piece):
            yield from _decode(body)


def _bodies(piece: bytes) -> Iterator[bytes]:
    """Whatever comes after an empty line, a line of blanks, or a line that is no field."""
    yield piece
    for end in list(re.finditer(rb"\n[ \t]*\n", piece))[:6]:
        yield piece[end.end() :]


def _decode(body: bytes) -> Iterator[bytes]:
    yield body
    yield quopri.decodestring(body)
    yield _base64(_LETTERS.sub(b"", body))
    yield b"".join(_base64(_LETTERS.sub(b"", stretch)) for stretch in body.split(b"="))
    yield b"".join(_base64(line) for line in body.split() if not _LETTERS.search(line.rstrip(b"=")))
    for block in re.findall(rb"(?ms)^begin [0-7]+ [^\n]*\n(.*?)^end", body):
        yield _uu(block)


def _base64(letters: bytes) -> bytes:
    letters = letters.rstrip(b"=")
    return base64.b64decode(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")


def _uu(block: bytes) -> bytes:
    found = b""
    for line in block.split(b"\n"):
        try:
            found += binascii.a2b_uu(line)
        except binascii.Error:
            continue
    return found
