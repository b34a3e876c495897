"""Files within a text: uuencode, yEnc, BinHex.

Rules of this file: a block's lines in, its bytes out; what is damaged is decoded as far as it can be; nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator

BEGIN = re.compile(
    rb"^(?:(?P<uu>begin[ \t]+[0-7]{3,4}\b)|(?P<base64>begin-base64[ \t])|(?P<yenc>=ybegin )"
    rb"|(?P<binhex>\(This file must be converted with BinHex))",
    re.IGNORECASE | re.MULTILINE,
)
"""The line that begins a block; its group's name is the kind's."""
_WORDS = (b"begin", b"(this file")  # without one of which no line begins a block
LONGEST_LINE = 4096

_HQX = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_TO_BASE64 = bytes.maketrans(_HQX, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_NOT_HQX = bytes(set(range(256)) - set(_HQX))
_YENC = bytes((number - 42) % 256 for number in range(256))
_YENC_ESCAPED = re.compile(rb"=([^\r\n])")


def find_begin(text: bytes) -> re.Match[bytes] | None:
    """The first line of `text` that begins a block. Most texts have none, which is found out many times as fast."""
    lower = text.lower()
    return BEGIN.search(text) if any(word in lower for word in _WORDS) else None


def decode_uu(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines behind `begin 644 name`, up to `end`."""
    for line in lines:
        text = line.rstrip(b"\r\n")
        if text.strip().lower() == b"end":
            return
        yield _decode_uu_line(text)


def _decode_uu_line(line: bytes) -> bytes:
    if not line:
        return b""
    length = (line[0] - 32) & 63
    # As many characters as the length asks for; blanks at the end may have been cut off on the way.
    count = (length * 4 + 2) // 3
    body = line[1 : 1 + count].ljust(count, b" ")
    try:
        return binascii.a2b_uu(bytes((32 + length,)) + body)
    except binascii.Error:
        return b""


def decode_begin_base64(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines behind `begin-base64 644 name`, up to `====`."""
    for line in lines:
        text = line.strip()
        if text.startswith(b"===="):
            return
        try:
            yield binascii.a2b_base64(text + b"==")
        except binascii.Error:
            yield b""


def decode_yenc(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines behind `=ybegin`, up to `=yend` (yEnc 1.3)."""
    for line in lines:
        if line.startswith(b"=yend"):
            return
        if not line.startswith((b"=ypart", b"=ybegin")):
            text = line.rstrip(b"\r\n")
            yield _YENC_ESCAPED.sub(lambda found: bytes(((found[1][0] - 64) % 256,)), text).translate(_YENC)


def decode_binhex(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines behind BinHex 4.0's, between the colons (RFC 1741): its header, data and resource fork in one."""
    rest, last, opened = b"", b"", False
    for line in lines:
        text = line.strip()
        if not opened:
            opened = text.startswith(b":")
            text = text[1:] if opened else b""
        text, colon, _ = text.partition(b":")
        letters = rest + text.translate(_TO_BASE64, _NOT_HQX)
        cut = len(letters) - len(letters) % 4
        data, last = _expand(last + binascii.a2b_base64(letters[:cut]), final=bool(colon))
        rest = letters[cut:]
        yield data
        if colon:
            return
    yield last


def _expand(data: bytes, *, final: bool) -> tuple[bytes, bytes]:
    """RFC 1741's run lengths: 0x90 and a count. Returns what is whole, and a tail that may yet be repeated."""
    found = bytearray()
    at = 0
    while at < len(data):
        if len(data) - at < 3 and not final:
            break
        byte = data[at]
        if data[at + 1 : at + 2] != b"\x90":
            found.append(byte)
            at += 2 if byte == 0x90 and data[at + 1 : at + 2] == b"\0" else 1
        else:
            count = data[at + 2] if at + 2 < len(data) else 0
            found += bytes((byte,)) * max(1, count)
            found += b"\x90" * (count == 0)
            at += 3
    return bytes(found), data[at:]


DECODERS: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "uu": decode_uu,
    "base64": decode_begin_base64,
    "yenc": decode_yenc,
    "binhex": decode_binhex,
}
