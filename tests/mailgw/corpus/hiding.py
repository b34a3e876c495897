"""Mails that carry EICAR in a part, by name.

Rules of this file: the name says structure and encoding; `HONEST` ones are read as RFC 2045 says, in `ODD` ones two
readers could see different parts.
"""

from __future__ import annotations

from scanners.specimens import EICAR
from tests.mailgw.corpus import encodings, structures

_TYPES = {"uu": b"text/plain", "yenc": b"text/plain"}


def _build(structure: str, encoding: str) -> bytes:
    odd_structure, odd_encoding = structures.ODD.get(structure), encodings.ODD.get(encoding)
    fields, body = (odd_encoding or encodings.HONEST[encoding])(EICAR)
    kind = _TYPES.get(encoding, b"application/octet-stream")
    fields = b"Content-Type: " + kind + b"; name=a.com\r\n" + fields
    return (odd_structure or structures.HONEST[structure])(fields, body)


HONEST: dict[str, bytes] = {
    f"{structure}/{encoding}": _build(structure, encoding)
    for structure in structures.HONEST
    for encoding in encodings.HONEST
}
ODD: dict[str, bytes] = {
    f"{structure}/{encoding}": _build(structure, encoding)
    for structure, encoding in [
        *((structure, encoding) for structure in ("single", "mixed", "attached") for encoding in encodings.ODD),
        *((structure, encoding) for structure in structures.ODD for encoding in ("base64", "qp-hex")),
    ]
}
