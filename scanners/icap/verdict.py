"""What an ICAP reply means: one of the five results. No sockets here.

Rules of this file: `free` is granted on two forms of one meaning, "unmodified", alone: a 204 after the whole object
was delivered, or a 200 that gives back our very status line and bytes; a word of infection, wherever it stands in a
2xx, outweighs both; what is not in the table is `unknown`.
"""

from __future__ import annotations

import re

from policy.verdict import Status
from scanners.engine import Answer
from scanners.icap.headers import Headers
from scanners.icap.replies import Head
from scanners.icap.vendors import CONTAINER, HEADERS, NOT_SCANNED, Kind
from scanners.printable import printable

_TYPE = re.compile(rb"(?:^|[;\s])Type\s*=\s*([0-9]+)", re.IGNORECASE)
_THREAT = re.compile(rb"(?:^|[;\s])Threat\s*=\s*([^;]*)", re.IGNORECASE)


def judge_head(head: Head, *, delivered: bool, status_line: bytes, pure_body: bool) -> Answer | None:
    """The answer, or None where the body decides: it must be ours to the byte.

    `delivered`: the server was sent the whole object; `status_line`: the HTTP status line that was sent along;
    `pure_body`: whether an unchanged 200 may be `free` at all."""
    words = describe(head)
    if not 200 <= head.code < 300:
        return Answer(Status.ERROR if 400 <= head.code < 600 else Status.UNKNOWN, detail=words)
    if (answer := judge_headers(head.headers + head.http_headers)) is not None:
        return answer
    if head.code == 204:
        return _judge_unmodified(head, delivered=delivered)
    if head.code != 200:
        return Answer(Status.UNKNOWN, detail=words)
    if head.http_line is None:
        return Answer(Status.UNKNOWN, detail=f"{words} with no HTTP reply in it")
    if head.http_line != status_line:
        return Answer(Status.UNKNOWN, detail=f"{words} with {printable(head.http_line)!r} in place of the object")
    if not pure_body:
        return Answer(Status.UNKNOWN, detail=f"{words}, and icap-pass-200-with-pure-body is off")
    return None


def _judge_unmodified(head: Head, *, delivered: bool) -> Answer:
    if head.has_body or head.http_line is not None:
        return Answer(Status.UNKNOWN, detail=f"{describe(head)} with a reply in it")
    if not delivered:
        return Answer(Status.SKIPPED, detail="the server did not ask for the whole object")
    return Answer(Status.FREE)


def judge_headers(headers: Headers) -> Answer | None:
    """What the headers say about the object; None where they say nothing against it. The worst word wins."""
    answers = [answer for name, value in headers.fields if (answer := _judge_field(name, value))]
    found = [answer for answer in answers if answer.status is Status.FOUND]
    if found:
        named = [answer for answer in found if answer.virus != UNNAMED]
        return (named or found)[0]
    skipped = [answer for answer in answers if answer.status is Status.SKIPPED]
    return next(iter(skipped or answers), None)


UNNAMED = "unnamed"
"""The name of a virus that the server does not name."""


def _judge_field(name: str, value: bytes) -> Answer | None:
    meaning = HEADERS.get(name)
    said = printable(value)
    if meaning is None or said.strip().lower() in meaning.nothing:
        return None
    detail = printable(name.encode() + b": " + value)
    match meaning.kind:
        case Kind.INFECTION:
            return _judge_infection(value, detail)
        case Kind.VIRUS:
            return _name_found(said, detail)
        case Kind.RESULT:
            return Answer(Status.FOUND, virus=UNNAMED, detail=detail)
        case Kind.DOUBT:
            return Answer(Status.UNKNOWN, detail=detail)


def _judge_infection(value: bytes, detail: str) -> Answer:
    """A Type that we do not know, or none, is taken for an infection: that is what the header is called."""
    types = [kind.decode() for kind in _TYPE.findall(value)]
    if types and all(kind.lstrip("0") == CONTAINER for kind in types):
        return Answer(Status.SKIPPED, detail=detail)
    threat = _THREAT.search(value)
    return _name_found(printable(threat[1].strip() if threat else b"") or UNNAMED, detail)


def _name_found(virus: str, detail: str) -> Answer:
    if virus.startswith(NOT_SCANNED):
        return Answer(Status.SKIPPED, detail=virus)
    return Answer(Status.FOUND, virus=virus, detail=detail)


def describe(head: Head) -> str:
    """E.g. `ICAP 404 Service not found`."""
    return f"ICAP {head.code} {printable(head.reason)}".strip()
