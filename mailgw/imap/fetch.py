"""FETCH, as a client asks it and as a server answers (RFC 9051, 6.4.5 and 7.5.2; RFC 3501; RFC 3516; RFC 7162).

Rules of this file: no I/O; an item that is not known here is not passed on, either way; nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mailgw.imap.commands import BadCommand, Command
from mailgw.imap.units import Literal, Unit

_PIECE = 256 * 1024
_MOST_ITEMS = 1000
_QUOTED = rb'"(?:[^"\\]|\\.)*"'
_SECTION = rb"\[(?P<section>(?:[^\]\"\0]|" + _QUOTED + rb"|\0\d+\0)*)\]"
_PLAIN = frozenset(
    b"FLAGS INTERNALDATE RFC822.SIZE RFC822.HEADER ENVELOPE BODY BODYSTRUCTURE UID MODSEQ EMAILID THREADID"
    b" SAVEDATE".split()
)
_MACROS = frozenset({b"ALL", b"FAST", b"FULL"})
_WHOLE = frozenset({b"RFC822", b"RFC822.TEXT"})
_ASKED = re.compile(
    rb"(?:(?P<sectioned>BODY|BODY\.PEEK|BINARY|BINARY\.PEEK|BINARY\.SIZE)" + _SECTION + rb"(?:<\d{1,10}\.\d{1,10}>)?"
    rb"|(?P<plain>[A-Z0-9.]+))",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    rb"(?:(?P<sectioned>BODY|BINARY|BINARY\.SIZE)" + _SECTION + rb"(?:<(?P<origin>\d{1,10})>)?|(?P<plain>[A-Z0-9.]+)) ",
    re.IGNORECASE,
)
_REQUEST = re.compile(rb"(?P<set>[0-9:*,]+|\$) (?P<rest>.*)", re.DOTALL)
_MODIFIERS = re.compile(rb" \((?P<since>CHANGEDSINCE \d{1,20})(?P<vanished> VANISHED)?\)\Z", re.IGNORECASE)
_RESPONSE = re.compile(rb"\* (\d{1,10}) FETCH \(", re.IGNORECASE)
_HEADER_SECTION = re.compile(
    rb"(?:[0-9.]+\.)?(?:HEADER|HEADER\.FIELDS(?:\.NOT)? ?\(.*\)|MIME)", re.IGNORECASE | re.DOTALL
)
_BODY_SECTION = re.compile(rb"(?:[1-9][0-9]*(?:\.[1-9][0-9]*)*(?:\.TEXT)?|TEXT|)", re.IGNORECASE)
_TOKEN = re.compile(_QUOTED + rb"|\0\d+\0|[()]")
_VALUE = re.compile(rb"(?P<quoted>" + _QUOTED + rb")|\0(?P<literal>\d+)\0|(?P<list>\()|(?P<atom>[^\s()\"\0]+)")


class Value(Protocol):
    """Octets of a body."""

    @property
    def size(self) -> int:
        """How many."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` of them."""


@dataclass(frozen=True, slots=True)
class Octets:
    """A value in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """How many."""
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` of them."""
        return self.data[offset : offset + size]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """`since` is a CHANGEDSINCE that the set is narrowed by, or "". `bodies`: contents are asked for; `binary`: by
    BINARY."""

    uid: bool
    set: bytes
    since: bytes
    bodies: bool
    binary: bool


def parse_request(command: Command) -> FetchRequest:
    """What a FETCH or UID FETCH asks for. Raises BadCommand for what is not understood."""
    found = _REQUEST.fullmatch(command.rest)
    if found is None:
        raise BadCommand("a set and items are needed", tag=command.tag)
    rest = found["rest"]
    modifiers = _MODIFIERS.search(rest)
    if modifiers is not None:
        rest = rest[: modifiers.start()]
    bodies = [item for item in _split_items(rest, command.tag) if _asks_body(item, command.tag)]
    since = modifiers["since"] if modifiers is not None else b""
    binary = any((item["sectioned"] or b"").upper().startswith(b"BINARY") for item in bodies)
    return FetchRequest(command.verb == "UID FETCH", found["set"], since, bool(bodies), binary)


def _split_items(text: bytes, tag: bytes) -> Iterator[re.Match[bytes]]:
    listed = text.startswith(b"(") and text.endswith(b")")
    text = text[1:-1] if listed else text
    at = 0
    for _ in range(_MOST_ITEMS):
        item = _ASKED.match(text, at)
        if item is None or (not listed and item.end() != len(text)):
            break
        yield item
        at = item.end()
        if at == len(text):
            return
        if text[at : at + 1] != b" ":
            break
        at += 1
    raise BadCommand("an item that is not supported", tag=tag)


def _asks_body(item: re.Match[bytes], tag: bytes) -> bool:
    """Raises BadCommand for an item that is not known."""
    if item["sectioned"] is None:
        name = item["plain"].upper()
        if name not in _PLAIN | _MACROS | _WHOLE:
            raise BadCommand("an item that is not supported", tag=tag)
        return name in _WHOLE
    kind, section = item["sectioned"].upper(), item["section"]
    if kind == b"BINARY.SIZE":
        return False
    if _HEADER_SECTION.fullmatch(section):
        return False
    if not _BODY_SECTION.fullmatch(section):
        raise BadCommand("a section that is not supported", tag=tag)
    return True


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer. `name` in capitals; `section` None where it has none, `origin` None where it is no piece;
    `start` and `end` enclose the value in the flat line, `first` is where the item begins."""

    name: bytes
    section: bytes | None
    origin: int | None
    first: int
    start: int
    end: int
    literal: int | None
    quoted: bool

    @property
    def is_body(self) -> bool:
        """Whether it carries contents."""
        if self.section is None:
            return self.name in _WHOLE
        return self.name != b"BINARY.SIZE" and not _HEADER_SECTION.fullmatch(self.section)

    @property
    def is_whole_binary(self) -> bool:
        """Whether its value is the mail with its parts decoded in place."""
        return self.origin is None and self.name == b"BINARY" and self.section == b""

    @property
    def is_whole(self) -> bool:
        """Whether its value is the mail's original octets, all of them."""
        return self.origin is None and (self.name == b"RFC822" or (self.name == b"BODY" and self.section == b""))


class NotUnderstood(ValueError):
    """A FETCH response with something in it that we do not know (remote fault)."""


@dataclass(slots=True)
class FetchResponse:
    """One `* n FETCH (...)`."""

    number: int
    items: tuple[Item, ...]
    flat: bytes
    unit: Unit

    @property
    def uid(self) -> int | None:
        """The UID that it tells."""
        return self._number(b"UID")

    @property
    def mail_size(self) -> int | None:
        """The RFC822.SIZE that it tells."""
        return self._number(b"RFC822.SIZE")

    def _number(self, name: bytes) -> int | None:
        for item in self.items:
            text = self.flat[item.start : item.end]
            if item.name == name and text.isdigit() and len(text) < 20:
                return int(text)
        return None

    @property
    def bodies(self) -> list[Item]:
        """The items that carry contents, or NIL in their place."""
        return [item for item in self.items if item.is_body]

    def value(self, item: Item) -> Value | None:
        """An item's octets; None for NIL, and for what could not be kept."""
        if item.literal is not None:
            literal = self.unit.literals[item.literal]
            return literal if literal.body is not None else None
        if item.quoted:
            return Octets(re.sub(rb"\\(.)", rb"\1", self.flat[item.start + 1 : item.end - 1], flags=re.DOTALL))
        return None

    def without(self, names: frozenset[bytes]) -> Unit | None:
        """The response without some items and without contents; None where nothing is left but a UID."""
        kept = [item for item in self.items if not item.is_body and item.name not in names]
        if not kept or any(item.literal is not None for item in kept):
            return None
        texts = [self.flat[item.first : item.end] for item in kept]
        if self.uid is not None and b"UID" in names:
            texts.insert(0, b"UID %d" % self.uid)
        return Unit.line(b"* %d FETCH (%s)" % (self.number, b" ".join(texts)))

    def pieces(self, values: Mapping[Item, Value]) -> Iterator[bytes]:
        """The response's octets with other values in some places, each as a literal."""
        at = 0
        for item in sorted(values, key=lambda item: item.start):
            yield from self._copy(at, item.start)
            value = values[item]
            binary = item.literal is not None and self.unit.literals[item.literal].binary
            yield b"%s{%d}\r\n" % (b"~" if binary else b"", value.size)
            for offset in range(0, value.size, _PIECE):
                yield value.read(offset, _PIECE)
            at = item.end
        yield from self._copy(at, len(self.flat))
        yield b"\r\n"

    def _copy(self, start: int, end: int) -> Iterator[bytes]:
        for number, text in enumerate(self.flat[start:end].split(b"\0")):
            if number % 2 == 0:
                yield text
                continue
            literal: Literal = self.unit.literals[int(text)]
            yield literal.marker()
            for offset in range(0, literal.size, _PIECE):
                yield literal.read(offset, _PIECE)


def parse_response(unit: Unit) -> FetchResponse | None:
    """A FETCH response; None for any other unit. Raises NotUnderstood."""
    head = _RESPONSE.match(unit.texts[0])
    if head is None:
        if re.match(rb"\* \d+ FETCH", unit.texts[0], re.IGNORECASE):
            raise NotUnderstood("a FETCH response of another form")
        return None
    flat = unit.flat()
    items: list[Item] = []
    at = head.end()
    while len(items) < _MOST_ITEMS:
        item = _parse_item(flat, at)
        items.append(item)
        at = item.end
        if flat[at:] == b")":
            return FetchResponse(int(head[1]), tuple(items), flat, unit)
        if flat[at : at + 1] != b" ":
            break
        at += 1
    raise NotUnderstood("a FETCH response that does not end")


def _parse_item(flat: bytes, at: int) -> Item:
    name = _ANSWERED.match(flat, at)
    if name is None or (name["plain"] is not None and name["plain"].upper() not in _PLAIN | _WHOLE):
        raise NotUnderstood("an item that is not known")
    section = name["section"]
    if section is not None and not (_HEADER_SECTION.fullmatch(section) or _BODY_SECTION.fullmatch(section)):
        raise NotUnderstood("a section that is not known")
    value = _VALUE.match(flat, name.end())
    if value is None:
        raise NotUnderstood("an item without a value")
    return Item(
        name=(name["sectioned"] or name["plain"]).upper(),
        section=section,
        origin=int(name["origin"]) if name["origin"] else None,
        first=at,
        start=value.start(),
        end=_end_of_list(flat, value.start()) if value["list"] else value.end(),
        literal=int(value["literal"]) if value["literal"] else None,
        quoted=value["quoted"] is not None,
    )


def _end_of_list(flat: bytes, at: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(flat, at):
        depth += {b"(": 1, b")": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    raise NotUnderstood("a list that does not end")
