"""Blocks of header lines, as ICAP and HTTP write them (RFC 3507, 4.3; RFC 2616, 4.2). No sockets here.

Rules of this file: whatever is read is bounded; what breaks the syntax is refused, never repaired, but for folded
lines, which ICAP servers send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from policy.verdict import Status

HEAD_LIMIT = 64 * 1024
"""Bytes of one block: a start line, its header lines, the empty line."""

LINES_LIMIT = 256
"""Lines in one block, folded ones counted each."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
# Tabs and whatever is not ASCII may stand in a value; NUL, CR and other controls may not.
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BadReply(ValueError):
    """A reply from which nothing good can be concluded. `status` says what it amounts to: `error` where the syntax is
    broken or a bound exceeded, `unknown` where the syntax holds and the sense does not. The text is for people."""

    def __init__(self, status: Status, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Headers:
    """Names in lower case with their values, in the order of arrival."""

    fields: tuple[tuple[str, bytes], ...] = ()

    def all(self, name: str) -> list[bytes]:
        """Every value of this name (lower case)."""
        return [value for known, value in self.fields if known == name]

    def tokens(self, name: str) -> list[str]:
        """Every value of this name, split at commas, in lower case, without empty ones."""
        words = b",".join(self.all(name)).decode("latin-1").lower().split(",")
        return [word.strip() for word in words if word.strip()]

    def number(self, name: str) -> int | None:
        """The only value of this name, as a whole number of at most 10 digits; None where there is no such thing."""
        values = self.all(name)
        return int(values[0]) if len(values) == 1 and re.fullmatch(rb"[0-9]{1,10}", values[0]) else None

    def __add__(self, more: Headers) -> Headers:
        return Headers(self.fields + more.fields)


def split_block(block: bytes) -> tuple[bytes, Headers]:
    """The start line and the headers of a block that ends in an empty line. BadReply where the syntax is broken."""
    start, *lines = block.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if _CONTROLS.search(start):
        raise BadReply(Status.UNKNOWN, "a reply that does not begin with a line of text")
    return start, parse_lines(lines)


def parse_lines(lines: Iterable[bytes]) -> Headers:
    """The headers in these lines. BadReply where the syntax is broken or LINES_LIMIT exceeded."""
    fields: list[tuple[str, bytes]] = []
    for count, line in enumerate(lines):
        if count >= LINES_LIMIT:
            raise BadReply(Status.ERROR, f"more than {LINES_LIMIT} header lines")
        if _CONTROLS.search(line):
            raise BadReply(Status.ERROR, "a control character in a header")
        if line.startswith((b" ", b"\t")) and fields:
            name, value = fields[-1]
            fields[-1] = (name, b" ".join((value, line.strip())).strip())
            continue
        raw, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(raw):
            raise BadReply(Status.ERROR, "a line that is no header")
        fields.append((raw.decode("ascii").lower(), value.strip()))
    return Headers(tuple(fields))
