"""A header: its fields with their offsets, and what about it readers disagree on.

Rules of this file: nothing is decoded; every offset is the mail's; what is no field is told and left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailgw.mime.rules import Findings, Rule
from mailgw.mime.window import Window

_END = re.compile(rb"(?:\A|\n)\r?\n")
_NAME = re.compile(rb"([\x21-\x39\x3b-\x7e]+):")
_SPACED_NAME = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]+:")
# Raw ISO-2022 in a subject is old, but ordinary: ESC, SO and SI stand in it.
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x0d\x10-\x1a\x1c-\x1f\x7f]")
_ANY_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_ONCE = frozenset({"content-type", "content-transfer-encoding", "mime-version"})
_FIRST_READ = 8192


class TooMuch(Exception):
    """A limit of the reader is reached."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `value` is raw, with its line ends inside, without the last; offsets include the last."""

    name: str
    value: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header and where its body begins."""

    start: int
    fields: tuple[Field, ...]
    body: int

    def values(self, name: str) -> list[bytes]:
        """The raw values of all fields of that name (lower case)."""
        return [field.value for field in self.fields if field.name == name]


def read_header(window: Window, start: int, limit: int, stops: Sequence[bytes]) -> tuple[bytes, int, bool]:
    """The header's bytes from `start`, the offset of the body, and whether an empty line ended it.

    `stops` are the boundaries, with their hyphens, that end a header, too. TooMuch above `limit` bytes.
    """
    size = _FIRST_READ
    while True:
        data = window.read(start, start + size)
        match = _END.search(data)
        if match or len(data) < size:
            break
        if size > limit:
            raise TooMuch(f"a header of more than {limit} bytes")
        size *= 4
    end = match.end() if match else len(data)
    if end > limit:
        raise TooMuch(f"a header of more than {limit} bytes")
    block = data[:end]
    cut = _find_stop(block, stops)
    if cut is not None:
        return block[:cut], start + cut, False
    return block, start + end, match is not None


def _find_stop(block: bytes, stops: Sequence[bytes]) -> int | None:
    at = 0
    while at >= 0:
        if block.startswith(tuple(stops), at):
            return at
        at = block.find(b"\n--", at) + 1 or -1
    return None


class HeaderParser:
    """Parses the headers of one mail; its first line says which line end is this mail's."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.crlf: bool | None = None

    def parse(self, block: bytes, start: int, body: int, part: str) -> Header:
        """The fields of a header's bytes at `start`."""
        lines = block.splitlines(keepends=True) if b"\r" not in block.replace(b"\r\n", b"\n") else _split(block)
        fields: list[Field] = []
        at, began = start, -1
        name, value = "", bytearray()
        for line in [*lines, b""]:
            if line[:1] in (b" ", b"\t") and began >= 0:
                value += line
            else:
                if began >= 0:
                    fields.append(Field(name, bytes(value).rstrip(b"\r\n"), began, at))
                began = -1
                name = self._name(line, part, first=at == start)
                if name:
                    began, value = at, bytearray(line[line.index(b":") + 1 :])
            self._check_line(line, part, last=at + len(line) >= body)
            at += len(line)
        self._check_fields(fields, part)
        return Header(start, tuple(fields), body)

    def _name(self, line: bytes, part: str, *, first: bool) -> str:
        if line in (b"", b"\n", b"\r\n"):
            if first and line and not part:
                self._findings.add(Rule.HEADER_START, part, "an empty line before the header")
            return ""
        match = _NAME.match(line)
        if match:
            return match[1].decode("ascii").lower()
        if first and line[:1] in (b" ", b"\t"):
            self._findings.add(Rule.HEADER_START, part, "a folded line before the first field")
            return ""
        self._findings.add(Rule.HEADER_LINE, part, "a line that is no field")
        spaced = _SPACED_NAME.match(line)
        return spaced[1].decode("ascii").lower() if spaced else ""

    def _check_line(self, line: bytes, part: str, *, last: bool) -> None:
        if not line:
            return
        if self.crlf is None and line.endswith(b"\n"):
            self.crlf = line.endswith(b"\r\n")
        if line.endswith(b"\n") and line.endswith(b"\r\n") is not self.crlf:
            self._findings.add(Rule.LINE_ENDS, part, "CRLF and bare LF in headers")
        text = line.rstrip(b"\n").removesuffix(b"\r")
        if text and not text.strip(b" \t"):
            self._findings.add(Rule.HEADER_END, part, "a line of blanks in a header")
        if _CONTROL.search(text):
            self._findings.add(Rule.CONTROL_CHARACTER, part, "a control character in a header")

    def _check_fields(self, fields: list[Field], part: str) -> None:
        seen: dict[str, bytes] = {}
        for field in fields:
            if field.name.startswith("content-") or field.name == "mime-version":
                if _ANY_CONTROL.search(field.value.replace(b"\r\n", b"").replace(b"\n", b"")):
                    self._findings.add(Rule.CONTROL_CHARACTER, part, f"a control character in {field.name}")
                if field.name in _ONCE and seen.setdefault(field.name, _plain(field.value)) != _plain(field.value):
                    self._findings.add(Rule.DUPLICATE_FIELD, part, f"several {field.name}")


def _plain(value: bytes) -> bytes:
    return b" ".join(value.split())


def _split(block: bytes) -> list[bytes]:
    """Lines that end with LF only; `splitlines` would end them at a bare CR, too."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]
