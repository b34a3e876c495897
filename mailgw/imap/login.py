"""Who logs in (RFC 4616, 5802, 7628, 2195): read from what passes, for the policy and the record.

Rules of this file: no I/O; passwords and tokens are not kept, not even for an error's text; who cannot be told is None.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable

MAX_RESPONSE = 64 * 1024  # octets of one line of an exchange: tokens are long
_SCRAM = re.compile(rb"[ny](?:=[^,]*)?,(?:a=([^,]*))?,(?:m=[^,]*,)?n=([^,]*)")
_BEARER = re.compile(rb"n,a=([^,]*),")
_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01")


def find_user(mechanism: bytes, response: bytes) -> str | None:
    """The user that the first response of an exchange (base64) names; an authorization identity goes before."""
    try:
        text = b64decode(response.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name = mechanism.upper().decode("ascii", "replace")
    read = _scram if name.startswith("SCRAM-") else _READERS.get(name)
    user = read(text) if read is not None else None
    return user.decode("utf-8", "replace") if user else None


def _plain(text: bytes) -> bytes | None:
    words = text.split(b"\0")
    return (words[0] or words[1]) if len(words) == 3 else None


def _scram(text: bytes) -> bytes | None:
    found = _SCRAM.match(text)
    if found is None:
        return None
    return (found[1] or found[2]).replace(b"=2C", b",").replace(b"=3D", b"=")


def _bearer(text: bytes) -> bytes | None:
    found = _BEARER.match(text)
    return found[1] if found else None


def _xoauth2(text: bytes) -> bytes | None:
    found = _XOAUTH2.match(text)
    return found[1] if found else None


_READERS: dict[str, Callable[[bytes], bytes | None]] = {
    "PLAIN": _plain,
    "LOGIN": lambda text: text,
    "CRAM-MD5": lambda text: text.rpartition(b" ")[0],
    "OAUTHBEARER": _bearer,
    "XOAUTH2": _xoauth2,
}
