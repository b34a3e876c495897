"""A mail with documents replaced, its subject prefixed, and our own fields in its header. For SMTP: sizes may change.

Rules of this file: pure but for reading the mail; what is not replaced keeps its octets; a replaced leaf keeps its
fields but Content-*; its text goes in base64, in which no boundary, long line or 8-bit octet can stand.
"""

from __future__ import annotations

import re
from base64 import b64encode, encodebytes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inspection.audit import visible
from scanners.engine import Body

_FIELD = re.compile(rb"[^\r\n][^\n]*(?:\n|\Z)(?:[ \t][^\n]*(?:\n|\Z))*")
_WELL_FORMED = re.compile(rb"[!-9;-~]{1,70}:[\t -~\x80-\xff]*\r\n(?:[ \t][\t -~\x80-\xff]*\r\n)*")
_PLACEHOLDER = re.compile(r"\{(virus|status|filename|antivirus|id)\}")
_PIECE = 256 * 1024
_LONGEST_VALUE = 200
_LONGEST_LINE = 998
_WORD = 42  # octets of text in one encoded-word (RFC 2047, 2: 75 characters in all)
OURS = b"x-sluice-"


@dataclass(frozen=True, slots=True)
class Change:
    """One leaf gives way to `text`; `start`, `body`, `end` are the mail's offsets of its header, its body, its end.
    `strict`: of its header only what is well-formed stays."""

    start: int
    body: int
    end: int
    text: str
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """`top` is the offset behind the mail's own header. `fields` are put before it, as X-Sluice-NAME; forged ones go.
    `changes` do not overlap, and are in order."""

    top: int
    changes: Sequence[Change] = ()
    fields: Mapping[str, str] | None = None
    prefix: str | None = None


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """The replacement's text: placeholders filled in, in one pass, with what can be shown."""
    return _PLACEHOLDER.sub(lambda found: visible(values.get(found[1], ""), _LONGEST_VALUE), template)


def rewrite(mail: Body, edits: Edits) -> Iterator[bytes]:
    """The pieces of the mail as edited."""
    at, changes = edits.top, list(edits.changes)
    if changes and changes[0].start == 0 and changes[0].body <= edits.top:
        first = changes.pop(0)
        header = _replace_header(mail.read(0, first.body), strict=first.strict)
        yield b"".join(_edit_top(header, edits)) + b"\r\n" + _encode(first.text) + b"\r\n"
        at = first.end
    else:
        raw = mail.read(0, edits.top)
        fields = _FIELD.findall(raw)
        yield b"".join(_edit_top(fields, edits)) + raw[sum(map(len, fields)) :]
    for change in changes:
        yield from _copy(mail, at, change.start)
        yield b"".join(_replace_header(mail.read(change.start, change.body - change.start), strict=change.strict))
        yield b"\r\n" + _encode(change.text) + (b"\r\n" if change.end >= mail.size else b"")
        at = change.end
    yield from _copy(mail, at, mail.size)


def _copy(mail: Body, start: int, end: int) -> Iterator[bytes]:
    for offset in range(start, end, _PIECE):
        yield mail.read(offset, min(_PIECE, end - offset))


def _replace_header(raw: bytes, *, strict: bool) -> list[bytes]:
    """The fields of a leaf that is text now."""
    fields = [field for field in _FIELD.findall(raw) if not field.lower().startswith(b"content-")]
    if strict:
        fields = [field for field in fields if _WELL_FORMED.fullmatch(field)]
    return [*_ended(fields), b"Content-Type: text/plain; charset=utf-8\r\n", b"Content-Transfer-Encoding: base64\r\n"]


def _encode(text: str) -> bytes:
    return encodebytes(text.replace("\r\n", "\n").replace("\n", "\r\n").encode()).strip().replace(b"\n", b"\r\n")


def _edit_top(fields: Sequence[bytes], edits: Edits) -> list[bytes]:
    edited = list(fields)
    if edits.fields is not None:
        named = [f"X-Sluice-{name}: {_printable(value)}\r\n".encode("ascii") for name, value in edits.fields.items()]
        edited = [*named, *(field for field in edited if not field.lower().startswith(OURS))]
    if edits.changes and not any(field.lower().startswith(b"mime-version") for field in edited):
        edited = [*_ended(edited), b"MIME-Version: 1.0\r\n"]
    return edited if edits.prefix is None else _prefix_subject(edited, edits.prefix)


def _ended(fields: Sequence[bytes]) -> list[bytes]:
    """With a line end behind the last one, too: a mail by BDAT may end in its header."""
    return [field if field.endswith(b"\n") else field + b"\r\n" for field in fields]


def _printable(value: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in value)[:_LONGEST_VALUE]


def _prefix_subject(fields: list[bytes], prefix: str) -> list[bytes]:
    """The first Subject with the prefix before its value, whose octets stay; a new one where there is none."""
    coded = _encode_prefix(prefix)
    for number, field in enumerate(fields):
        name, colon, value = field.partition(b":")
        if name.strip().lower() != b"subject" or not colon:
            continue
        if value.strip().startswith(coded.strip()):
            return fields
        rest = value if value[:1] == b"\r" else value.lstrip(b" \t")
        long = len(b"Subject: ") + len(coded) + len(rest.split(b"\r\n")[0]) > _LONGEST_LINE
        fields[number] = b"Subject: " + coded + (b"\r\n " if long else b"") + rest
        return fields
    return [*_ended(fields), b"Subject: " + coded.rstrip() + b"\r\n"]


def _encode_prefix(prefix: str) -> bytes:
    """ASCII as it is, all else as encoded-words: the prefix's own blanks inside, one behind each."""
    if prefix.isascii():
        return prefix.encode("ascii")
    words, word = [], b""
    for character in prefix:
        if len(word) + len(character.encode()) > _WORD:
            words.append(word)
            word = b""
        word += character.encode()
    return b" ".join(b"=?utf-8?B?" + b64encode(part) + b"?=" for part in (*words, word)) + b" "
