"""A payload in a part, encoded in the ways that readers know, honestly and otherwise.

Rules of this file: an encoding gives the part's fields behind Content-Type, and its body; CRLF throughout; nothing is
random.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import quopri
import zipfile
from collections.abc import Callable

Encoded = tuple[bytes, bytes]
_CTE = b"Content-Transfer-Encoding: "


def _lines(data: bytes, width: int = 76) -> bytes:
    return b"\r\n".join(data[at : at + width] for at in range(0, len(data), width))


def b64(data: bytes) -> bytes:
    return _lines(base64.b64encode(data))


def hexed(data: bytes) -> bytes:
    return _lines(b"".join(b"=%02X" % byte for byte in data), 75).replace(b"\r\n", b"=\r\n")


def uu(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]).rstrip(b"\n") for at in range(0, len(data), 45)]
    return b"\r\n".join([b"begin 644 a.com", *lines, b"`", b"end"])


def yenc(data: bytes) -> bytes:
    coded = b"".join(
        b"=%c" % ((byte + 106) % 256) if (byte + 42) % 256 in (0, 10, 13, 61) else b"%c" % ((byte + 42) % 256)
        for byte in data
    )
    return b"=ybegin line=128 size=%d name=a.com\r\n%b\r\n=yend size=%d" % (len(data), coded, len(data))


def binhex(data: bytes) -> bytes:
    letters = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
    table = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", letters)
    header = b"\x05a.com\x00TEXTttxt\x00\x00" + len(data).to_bytes(4, "big") + bytes(4) + b"\0\0"
    coded = base64.b64encode(header + data + b"\0\0" + b"\0" * (-(len(header) + len(data) + 2) % 3)).translate(table)
    return b"(This file must be converted with BinHex 4.0)\r\n\r\n:" + _lines(coded, 63) + b":"


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.com", data)
    return packed.getvalue()


def _junk(data: bytes, junk: bytes, every: int = 4) -> bytes:
    letters = base64.b64encode(data)
    return junk.join(letters[at : at + every] for at in range(0, len(letters), every))


def _stretches(data: bytes, size: int = 10) -> bytes:
    return b"".join(base64.b64encode(data[at : at + size]) for at in range(0, len(data), size))


HONEST: dict[str, Callable[[bytes], Encoded]] = {
    "base64": lambda data: (_CTE + b"base64", b64(data)),
    "base64-upper": lambda data: (_CTE + b"BASE64", b64(data)),
    "base64-60": lambda data: (_CTE + b"base64", _lines(base64.b64encode(data), 60)),
    "base64-odd-lines": lambda data: (_CTE + b"base64", _lines(base64.b64encode(data), 7)),
    "base64-one-line": lambda data: (_CTE + b"base64", base64.b64encode(data * 20)),
    "base64-blanks": lambda data: (_CTE + b"base64", b64(data).replace(b"\r\n", b" \t\r\n") + b"\r\n\r\n"),
    "qp": lambda data: (_CTE + b"quoted-printable", quopri.encodestring(data).replace(b"\n", b"\r\n")),
    "qp-hex": lambda data: (_CTE + b"quoted-printable", hexed(data)),
    "qp-lower": lambda data: (_CTE + b"quoted-printable", hexed(data).lower()),
    "qp-soft": lambda data: (
        _CTE + b"Quoted-Printable",
        _lines(data.replace(b"=", b"=3D"), 9).replace(b"\r\n", b"=\r\n"),
    ),
    "7bit": lambda data: (_CTE + b"7bit", data),
    "8bit": lambda data: (_CTE + b"8bit", b"\xc5\x99 " + data),
    "binary": lambda data: (_CTE + b"binary", b"\0\xff" + data),
    "gzip": lambda data: (_CTE + b"base64", b64(gzip.compress(data, mtime=0))),
    "zip": lambda data: (_CTE + b"base64", b64(zipped(data))),
    "uu": lambda data: (_CTE + b"7bit", b"Hello,\r\n\r\n" + uu(data) + b"\r\n-- \r\nA."),
    "uu-in-base64": lambda data: (_CTE + b"base64", b64(b"Hello,\r\n" + uu(data))),
    "uu-twice": lambda data: (_CTE + b"7bit", uu(b"nothing") + b"\r\n" + uu(data)),
    "yenc": lambda data: (_CTE + b"8bit", b"Hello,\r\n" + yenc(data)),
    "binhex": lambda data: (_CTE + b"7bit", binhex(data)),
    "sniffed-base64": lambda data: (b"X-Nothing: here", b64(data)),
    "sniffed-base64-7bit": lambda data: (_CTE + b"7bit", b64(data)),
    "sniffed-qp": lambda data: (_CTE + b"7bit", hexed(data)),
    "begin-base64": lambda data: (_CTE + b"7bit", b"begin-base64 644 a.com\r\n" + b64(data) + b"\r\n====\r\n"),
}
"""Read as RFC 2045 says, or within a text as its readers know it: the payload is found, and nothing is ambiguous
but where said in the tests."""

ODD: dict[str, Callable[[bytes], Encoded]] = {
    "padding-first": lambda data: (_CTE + b"base64", b"==\r\n" + b64(data)),
    "padding-amid": lambda data: (_CTE + b"base64", _stretches(data)),
    "padding-amid-lines": lambda data: (_CTE + b"base64", base64.b64encode(b"x") + b"\r\n" + b64(data)),
    "padding-too-much": lambda data: (_CTE + b"base64", b64(b"12") + b"===\r\n" + b64(data)),
    "junk": lambda data: (_CTE + b"base64", _junk(data, b"!")),
    "junk-8bit": lambda data: (_CTE + b"base64", _junk(data, b"\xa0")),
    "junk-nul": lambda data: (_CTE + b"base64", _junk(data, b"\0", 5)),
    "junk-line": lambda data: (_CTE + b"base64", b"*** a line ***\r\n" + b64(data)),
    "junk-dots": lambda data: (_CTE + b"base64", _junk(data, b".\r\n", 8)),
    "padding-missing": lambda data: (_CTE + b"base64", b64(data).rstrip(b"=")),
    "url-safe": lambda data: (_CTE + b"base64", base64.urlsafe_b64encode(b"\xff\xfe\xfb" + data)),
    "text-behind-base64": lambda data: (_CTE + b"base64", b64(b"hello") + b"\r\n" + data),
    "qp-soft-blanks": lambda data: (_CTE + b"quoted-printable", data[:20] + b"= \t\r\n" + data[20:]),
    "qp-broken": lambda data: (_CTE + b"quoted-printable", b"=ZZ" + hexed(data)),
    "qp-equals": lambda data: (_CTE + b"quoted-printable", b"=".join((data[:10], data[10:]))),
    "qp-cut": lambda data: (_CTE + b"quoted-printable", hexed(data) + b"=4"),
    "cte-folded": lambda data: (_CTE + b"\r\n base64", b64(data)),
    "cte-quoted": lambda data: (_CTE + b'"base64"', b64(data)),
    "cte-comment": lambda data: (_CTE + b"base64 (really)", b64(data)),
    "cte-comment-first": lambda data: (_CTE + b"(not) base64", b64(data)),
    "cte-semicolon": lambda data: (_CTE + b"base64;", b64(data)),
    "cte-parameter": lambda data: (_CTE + b"base64; x=y", b64(data)),
    "cte-two": lambda data: (_CTE + b"7bit base64", b64(data)),
    "cte-comma": lambda data: (_CTE + b"base64, base64", b64(data)),
    "cte-unknown": lambda data: (_CTE + b"x-unknown", b64(data)),
    "cte-empty": lambda data: (_CTE, b64(data)),
    "cte-base-64": lambda data: (_CTE + b"base-64", b64(data)),
    "cte-8-bit": lambda data: (_CTE + b"8-bit", b64(data)),
    "cte-word": lambda data: (_CTE + b"=?us-ascii?q?base64?=", b64(data)),
    "cte-nul": lambda data: (_CTE + b"base64\0", b64(data)),
    "cte-vt": lambda data: (_CTE + b"\x0bbase64", b64(data)),
    "cte-ff": lambda data: (_CTE + b"base64\x0c", b64(data)),
    "cte-cr": lambda data: (_CTE + b"7bit\r" + _CTE + b"base64", b64(data)),
    "cte-lf": lambda data: (_CTE + b"7bit\n" + _CTE + b"base64", b64(data)),
    "cte-nbsp": lambda data: (_CTE + b"\xa0base64", b64(data)),
    "cte-twice": lambda data: (_CTE + b"7bit\r\n" + _CTE + b"base64", b64(data)),
    "cte-twice-last": lambda data: (_CTE + b"base64\r\n" + _CTE + b"7bit", b64(data)),
    "cte-twice-case": lambda data: (_CTE + b"8bit\r\ncontent-transfer-ENCODING: base64", b64(data)),
    "cte-spaced": lambda data: (b"Content-Transfer-Encoding : base64", b64(data)),
    "cte-tabbed": lambda data: (b"Content-Transfer-Encoding\t: base64", b64(data)),
    "cte-uuencode": lambda data: (_CTE + b"x-uuencode", uu(data)),
    "cte-uu": lambda data: (_CTE + b"uuencode", uu(data)),
    "line-without-colon": lambda data: (b"a line\r\n" + _CTE + b"base64", b64(data)),
    "line-of-blanks": lambda data: (b"X-A: b\r\n \t\r\n" + _CTE + b"base64", b64(data)),
    "name-nul": lambda data: (b"Content-Transfer-Encoding\0: base64", b64(data)),
    "name-8bit": lambda data: (b"X-\xe9: b\r\n" + _CTE + b"base64", b64(data)),
    "from-line": lambda data: (b"From someone\r\n" + _CTE + b"base64", b64(data)),
}
"""Readers disagree: the mail is ambiguous."""
