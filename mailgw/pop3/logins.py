"""Who logs in: the name in USER, APOP or a SASL exchange. Nothing else of it is kept.

Rules of this file: no I/O; a name is read from what the client sent, and counts once the server has accepted it; what
cannot be read is nobody's name.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode

_LONGEST = 320
_OAUTH_USER = re.compile(rb"(?:\A|\x01)(?:user=|n,a=)([^\x01,]+)")
_SCRAM_USER = re.compile(rb"(?:\A|,)n=([^,]*)")


class SaslName:
    """Watches the client's responses of one exchange; `name` is None where they show none."""

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism.upper()
        self.name: str | None = None

    def see(self, response: bytes) -> None:
        """One response, in base64, the initial one included."""
        if self.name is not None:
            return
        try:
            data = b64decode(response, validate=True)
        except (binascii.Error, ValueError):
            return
        found = self._find(data)
        self.name = clean_name(found) if found else None

    def _find(self, data: bytes) -> bytes | None:
        if self._mechanism == "PLAIN":
            identity, *rest = data.split(b"\0")
            return identity or (rest[0] if rest else None)
        if self._mechanism == "LOGIN":
            return data
        if self._mechanism == "CRAM-MD5":
            return data.rpartition(b" ")[0]
        pattern = _SCRAM_USER if self._mechanism.startswith("SCRAM") else _OAUTH_USER
        found = pattern.search(data)
        return found[1].replace(b"=2C", b",").replace(b"=3D", b"=") if found else None


def clean_name(name: bytes) -> str:
    """As it may stand in conditions and records."""
    return name.decode("utf-8", "replace")[:_LONGEST]
