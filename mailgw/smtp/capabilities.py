"""What EHLO's answer may promise (RFC 5321, 4.1.1.1): what the next hop offers and we vouch for.

Rules of this file: no I/O; what is not named here is not offered; STARTTLS is ours alone; no mechanism that wraps or
binds the connection can be relayed by who stands in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailgw.smtp.replies import Reply

# As they came. AUTH, SIZE, STARTTLS, XFORWARD have rules of their own below.
_RELAYED = frozenset(
    {"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING", "LIMITS", "VRFY", "EXPN", "HELP"}
)
_MECHANISMS = frozenset(
    {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "XOAUTH2", "OAUTHBEARER"}
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides besides the next hop: octets that we keep at most, whether STARTTLS is ours to offer now, whether
    AUTH may be, whether the client may speak for others (XFORWARD)."""

    max_size: int
    starttls: bool = False
    auth: bool = True
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """The answer to relay, and the keywords in it."""

    reply: Reply
    keywords: frozenset[str]


def filter_ehlo(reply: Reply, terms: Terms) -> Offer:
    """The next hop's good answer to EHLO, cut down to what we vouch for."""
    kept = [line for text in reply.texts[1:] for line in _keep(text, terms)]
    if terms.starttls:
        kept.append(b"STARTTLS")
    texts = [reply.texts[0], *kept]
    separators = [b"-"] * (len(texts) - 1) + [b" "]
    code = b"%d" % reply.code
    lines = tuple(code + mark + text for mark, text in zip(separators, texts, strict=True))
    return Offer(Reply(reply.code, lines), read_keywords(kept))


def read_keywords(texts: Iterable[bytes]) -> frozenset[str]:
    """The first word of each line, in capitals."""
    return frozenset(text.split(b" ")[0].decode("ascii", "replace").upper() for text in texts)


def _keep(text: bytes, terms: Terms) -> list[bytes]:
    keyword, *words = text.decode("ascii", "replace").upper().split() or [""]
    if keyword == "SIZE":
        return [_size(words, terms.max_size)]
    if keyword == "AUTH":
        mechanisms = [word for word in words if word in _MECHANISMS]
        return [b"AUTH " + " ".join(mechanisms).encode()] if mechanisms and terms.auth else []
    if keyword == "XFORWARD":
        return [text] if terms.trusted else []
    return [text] if keyword in _RELAYED else []


def _size(words: list[str], ours: int) -> bytes:
    """The lesser of the two limits; the next hop's 0, or none, is no limit."""
    theirs = int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 20 else 0
    return b"SIZE %d" % (min(theirs, ours) if theirs else ours)


def may_use(mechanism: str) -> bool:
    """Whether an AUTH mechanism can be relayed."""
    return mechanism.upper() in _MECHANISMS
