"""The audit record: one object, one line; and the id that all traces of an object carry.

Rules of this file: pure; a field is added here and in docs together, for users script against the names; no
content, no credentials, no subjects, no query strings; whatever a peer chose is escaped and cut.
"""

from __future__ import annotations

import json
import re
import secrets
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from policy.verdict import ScanReport, Status

MAX_TEXT = 2048  # characters of one field; a longer one is cut and ends in "..."
_ID = re.compile(r"[0-9a-z]{16,20}")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*:)?//)([^/\\]*)(.*)", re.IGNORECASE | re.DOTALL)
# C0, DEL, C1; what turns the reading direction; what ends a line; halves of characters.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def new_id(now: Callable[[], int] = clock.time_ns) -> str:
    """20 characters of [0-9a-z]: 10 sort by time (microseconds), 10 cannot be guessed (51 bits)."""
    return _base36(now() // 1000) + _base36(secrets.randbelow(36**10))


def _base36(number: int) -> str:
    text = ""
    for _ in range(10):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text


def is_id(text: str) -> bool:
    """True for what `new_id` could have made: such a text is safe as a file name."""
    return _ID.fullmatch(text) is not None


def visible(text: str, limit: int = MAX_TEXT) -> str:
    """The text with control, bidi and line-breaking characters as \\uXXXX, cut to `limit` characters."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", cut)


def cut_text(value: object) -> object:
    """Cuts a text to MAX_TEXT; lone surrogates, which strict JSON readers refuse, become a backslash and their
    number. What is no text comes back as it is."""
    if not isinstance(value, str) or (len(value) <= MAX_TEXT and value.isascii()):
        return value
    cut = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "..."
    return cut.encode("utf-8", "backslashreplace").decode()


def without_query(url: str) -> str:
    """The URL without query, fragment, user and password. A text that is no URL loses what follows ? or #."""
    url = re.split(r"[?#]", url, maxsplit=1)[0]
    match = _URL.fullmatch(url)
    if match is None:
        return url
    scheme, authority, path = match.groups()
    host = authority.rpartition("@")[2]
    # A password holding "?" or "/" has lost its "@": what stands where a port would is not shown.
    name, colon, port = host.rpartition(":")
    if colon and port and not port.isdigit() and not host.endswith("]"):
        return f"{scheme}{name}"
    return f"{scheme}{host}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """One document of a mail; `part` is its place in the mail ("1.2"), `size` in decoded bytes."""

    part: str
    filename: str | None = None
    content_type: str | None = None
    size: int | None = None
    status: Status | None = None
    virus: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """What is said of one checked, or knowingly unchecked, object. Every field is written, null if unknown.

    `time` must know its zone. `size` and `released` are bytes, `ms` milliseconds; `object` is a URL (its
    query is taken off when the record is written), a path or a Message-ID; `status` None: no engine was asked.
    """

    time: datetime
    event: Literal["object", "mail"] = "object"
    proxy: str
    session: str
    id: str
    client: str | None = None
    server: str | None = None
    user: str | None = None
    direction: str | None = None
    object: str | None = None
    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    status: Status | None = None
    virus: str | None = None
    engines: tuple[ScanReport, ...] = ()
    documents: tuple[DocumentEntry, ...] = ()
    acl: str | None = None
    action: str
    reason: str | None = None
    released: int = 0
    quarantine: str | None = None
    ms: float = 0.0

    def to_json(self) -> str:
        """The record as one line of ASCII, without the line's end."""
        return json.dumps(self.to_plain())

    def to_plain(self) -> dict[str, Any]:
        """The fields as JSON knows values: cut to MAX_TEXT, and a URL without its query."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        values["time"] = self.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values["engines"] = [_engine(report) for report in self.engines]
        values["documents"] = [_document(entry) for entry in self.documents]
        values["ms"] = round(self.ms, 1)
        if self.object is not None and _URL.match(self.object):
            values["object"] = without_query(self.object)
        return {name: cut_text(value) for name, value in values.items()}


_FIELDS = tuple(field.name for field in fields(AuditRecord))


def _engine(report: ScanReport) -> dict[str, object]:
    return {
        "name": cut_text(report.antivirus),
        "protocol": report.protocol,
        "version": cut_text(report.version),
        "status": report.status,
        "virus": cut_text(report.virus),
        "ms": round(report.ms, 1),
        "cached": report.cached,
        "coverage": report.coverage,
    }


def _document(entry: DocumentEntry) -> dict[str, object]:
    return {field.name: cut_text(getattr(entry, field.name)) for field in fields(entry)}
