"""Who logs in (RFC 4616, 5802, 7628, 2195): read from what passes, for the policy and the record.

Rules of this file: no I/O; passwords and tokens are not kept, not even for an error's text; who cannot be told is None.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

MAX_RESPONSE = 64 * 1024  # octets of one line of an exchange: tokens are long
_SCRAM = re.compile(rb"[ny](?:=[^,]*)?,(?:a=([^,]*))?,(?:m=[^,]*,)?n=([^,]*)")
_BEARER = re.compile(rb"n,a=([^,]*),")
_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in. `user` is for the policy and the record: None where two are named that differ, or nobody. `proven`
    is everything that was named, where the server cannot but mean that; None where a token decides."""

    user: str | None = None
    proven: str | None = None


def name_user(name: bytes) -> Identity:
    """Of LOGIN."""
    text = name.decode("utf-8", "replace")
    return Identity(text, text)


def find_user(mechanism: bytes, response: bytes) -> Identity:
    """Who the first response of an exchange (base64) names."""
    try:
        text = b64decode(response.strip(), validate=True)
    except (binascii.Error, ValueError):
        return Identity()
    name = mechanism.upper().decode("ascii", "replace")
    read = _scram if name.startswith("SCRAM-") else _READERS.get(name)
    return read(text) if read is not None else Identity()


def _two(acting: bytes, logging_in: bytes) -> Identity:
    """An authorization identity beside the one that is proven: a server may heed it, or not."""
    if acting and acting != logging_in:
        return Identity(None, (acting + b"\0" + logging_in).decode("utf-8", "replace"))
    return name_user(logging_in)


def _plain(text: bytes) -> Identity:
    words = text.split(b"\0")
    return _two(words[0], words[1]) if len(words) == 3 else Identity()


def _scram(text: bytes) -> Identity:
    found = _SCRAM.match(text)
    if found is None:
        return Identity()
    return _two(*(name.replace(b"=2C", b",").replace(b"=3D", b"=") for name in (found[1] or b"", found[2])))


def _claim(pattern: re.Pattern[bytes], text: bytes) -> Identity:
    found = pattern.match(text)
    return Identity(found[1].decode("utf-8", "replace")) if found else Identity()


_READERS: dict[str, Callable[[bytes], Identity]] = {
    "PLAIN": _plain,
    "LOGIN": name_user,
    "CRAM-MD5": lambda text: name_user(text.rpartition(b" ")[0]),
    "OAUTHBEARER": partial(_claim, _BEARER),
    "XOAUTH2": partial(_claim, _XOAUTH2),
}
