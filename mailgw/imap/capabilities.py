"""What a server may promise a client (RFC 9051, 6.1.1): what it offers, and we can police.

Rules of this file: no I/O; what is not named here is neither offered nor taken; STARTTLS is ours alone; no mechanism
that wraps or binds the connection can be relayed by who stands in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Left out, each for a reason: COMPRESS (unreadable), URLAUTH, URL-PARTIAL, CATENATE, CONVERT, NOTIFY, REPLACE,
# METADATA, ANNOTATE (contents by other ways than FETCH and APPEND), PREVIEW (text of a body), UIDONLY, PARTIAL,
# CONTEXT, IMAP4rev2, UTF8=, LANGUAGE (other grammar), LOGIN-REFERRALS, MAILBOX-REFERRALS (past us), MULTISEARCH, X...
_RELAYED = frozenset(
    b"IMAP4REV1 LITERAL+ LITERAL- SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY MULTIAPPEND UNSELECT CHILDREN NAMESPACE"
    b" UIDPLUS LIST-EXTENDED LIST-STATUS LIST-MYRIGHTS I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN"
    b" BINARY MOVE SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE QUOTA QUOTASET ACL SAVEDATE OBJECTID SEARCH=FUZZY"
    b" LOGINDISABLED".split()
)
_FAMILIES = (b"THREAD=", b"QUOTA=", b"RIGHTS=")
_MECHANISMS = frozenset(b"PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 XOAUTH2 OAUTHBEARER".split())
_ENABLED = frozenset({b"CONDSTORE", b"QRESYNC"})
_CODE = re.compile(
    rb"(?P<head>[^ ]+ (?:OK|NO|BAD|BYE|PREAUTH) )\[(?:CAPABILITY (?P<words>[^\]\r\n]*)|REFERRAL [^\]\r\n]*)\] ?",
    re.IGNORECASE,
)
_LIST = re.compile(rb"\* CAPABILITY (?P<words>[^\r\n]*)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides besides the server: whether STARTTLS is ours to offer now, whether a login may come now, octets of
    the largest mail that we keep."""

    starttls: bool = False
    login: bool = True
    max_size: int = 1 << 30


def filter_words(words: list[bytes], terms: Terms) -> list[bytes]:
    """The server's capabilities, cut down to what we vouch for."""
    kept = [word for word in (_keep(word, terms) for word in words) if word]
    if not terms.login and b"LOGINDISABLED" not in kept:
        kept.append(b"LOGINDISABLED")
    return [*kept, b"STARTTLS"] if terms.starttls else kept


def _keep(word: bytes, terms: Terms) -> bytes | None:
    upper = word.upper()
    if upper.startswith(b"AUTH="):
        return word if terms.login and may_use(upper[5:]) else None
    if upper == b"SASL-IR" and not terms.login:
        return None
    if upper.startswith(b"APPENDLIMIT"):
        theirs = upper[12:]
        fits = theirs.isdigit() and len(theirs) < 20
        return b"APPENDLIMIT=%d" % (min(int(theirs), terms.max_size) if fits else terms.max_size)
    return word if upper in _RELAYED or upper.startswith(_FAMILIES) else None


def filter_line(line: bytes, terms: Terms) -> bytes:
    """A line of the server's, wherever it tells capabilities: `* CAPABILITY`, or a response code."""
    listed = _LIST.fullmatch(line)
    if listed is not None:
        return b"* CAPABILITY " + b" ".join(filter_words(listed["words"].split(), terms)) + b"\r\n"
    found = _CODE.match(line)
    return line if found is None else found["head"] + _filter_code(found, terms) + line[found.end() :]


def _filter_code(found: re.Match[bytes], terms: Terms) -> bytes:
    if found["words"] is None:
        return b""  # a referral would lead past us
    return b"[CAPABILITY " + b" ".join(filter_words(found["words"].split(), terms)) + b"] "


def may_use(mechanism: bytes) -> bool:
    """Whether an AUTHENTICATE mechanism can be relayed."""
    return mechanism.upper() in _MECHANISMS


def may_enable(extension: bytes) -> bool:
    """Whether ENABLE may name it."""
    return extension.upper() in _ENABLED
