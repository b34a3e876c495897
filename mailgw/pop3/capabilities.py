"""What CAPA's answer may promise (RFC 2449): what the server offers and we vouch for.

Rules of this file: no I/O; what is not named here is not offered; STLS is ours alone; UTF8 and LANG (RFC 6856) would
have us read mails and replies by other rules.
"""

from __future__ import annotations

from collections.abc import Iterable

_RELAYED = frozenset(
    {"TOP", "RESP-CODES", "AUTH-RESP-CODE", "LOGIN-DELAY", "PIPELINING", "EXPIRE", "UIDL", "IMPLEMENTATION"}
)
_MECHANISMS = frozenset(
    {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "XOAUTH2", "OAUTHBEARER"}
)


def may_use(mechanism: str) -> bool:
    """Whether a mechanism can be relayed: none that wraps or binds the connection can be."""
    return mechanism.upper() in _MECHANISMS


def filter_capabilities(lines: Iterable[bytes], *, stls: bool, logins: bool) -> list[bytes]:
    """The lines to answer with. `stls`: it is ours to offer now; `logins`: they may be offered now."""
    kept = [line for text in lines if (line := _keep(text, logins=logins))]
    return [*kept, b"STLS"] if stls else kept


def _keep(text: bytes, *, logins: bool) -> bytes:
    keyword, *words = text.decode("ascii", "replace").upper().split() or [""]
    if keyword == "SASL":
        mechanisms = [word for word in words if word in _MECHANISMS]
        return b"SASL " + " ".join(mechanisms).encode() if mechanisms and logins else b""
    if keyword == "USER":
        return text if logins else b""
    return text if keyword in _RELAYED else b""
