"""Pieces of a mail whose documents are covered, as a server would have sent them: its bytes, masked, as many of them.

Rules of this file: what the server sends is believed only where it equals the original's octets at the place where our
own reading has that section; all else is blank, which is always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from inspection.spool import Spool, SpoolRoom
from mailgw.imap.fetch import Item, Octets, Value
from mailgw.mime import base64_text, quoted_printable
from mailgw.mime.header import TooMuch
from mailgw.mime.mask import blank
from mailgw.mime.rules import Findings
from mailgw.mime.walker import Limits, Part, Walk
from mailgw.mime.window import Window

_PIECE = 256 * 1024
_DECODERS = {"base64": base64_text.decode, "quoted-printable": quoted_printable.decode}
_PLAIN = frozenset({"7bit", "8bit", "binary"})


class MaskedMail:
    """`original` and `form` have the same size; both are closed by `close`. Making one reads the mail: in a thread."""

    def __init__(self, original: Spool, form: Spool) -> None:
        if original.size != form.size:
            raise ValueError("a covered mail keeps its size")
        self.original, self.form = original, form
        walk = Walk(original, Limits(), Findings())
        try:
            walk.run()
        except TooMuch:
            pass  # what was not reached is blank
        self._parts = walk.parts

    def close(self) -> None:
        """Give the room back. May be called twice."""
        self.original.close()
        self.form.close()

    def pieces(self, item: Item, value: Value) -> Iterator[bytes]:
        """What takes the place of a body's value, in pieces. Reads what the server sent twice: in a thread."""
        if item.name == b"BINARY" and item.section:
            yield from self._decoded(item, value)
            return
        start = self._locate(item, value)
        if start is None:
            yield from _blank(value)
        else:
            yield from _read(self.form, start, start + value.size)

    def _locate(self, item: Item, value: Value) -> int | None:
        """Where in the original the value stands, in a place that our reading knows."""
        for start, end in self._regions(item):
            at = start + (item.origin or 0)
            if at + value.size <= end and self._equals(at, value):
                return at
        return None

    def _regions(self, item: Item) -> Iterator[tuple[int, int]]:
        """The section, as we read it. An only part has the number 1; a part that is a message has a text, too."""
        section = (item.section or b"").upper().decode("ascii", "replace")
        size = self.original.size
        if item.name == b"RFC822" or (item.name != b"RFC822.TEXT" and not section):
            yield 0, size
        elif item.name == b"RFC822.TEXT" or section == "TEXT":
            yield (self._parts[0].body if self._parts else size), size
        elif section.endswith(".TEXT"):
            for part in self._find(section.removesuffix(".TEXT")):
                yield from ((child.body, _outer_end(part)) for child in part.children if part.is_message)
        else:
            for part in self._find(section):
                yield part.body, _outer_end(part)

    def _find(self, number: str) -> Iterator[Part]:
        for part in self._parts:
            if part.number == number or (part.is_leaf and part.label == number):
                yield part
        root = self._parts[0] if self._parts else None
        if root is not None and root.is_message:  # a mail that is a message: that is part 1, what it holds 1.1 and on
            if number == "1":
                yield root
            elif number.startswith("1."):
                yield from (part for part in self._parts[1:] if part.number == number[2:])

    def _equals(self, at: int, value: Value) -> bool:
        for offset in range(0, value.size, _PIECE):
            data = value.read(offset, _PIECE)
            if self.original.read(at + offset, len(data)) != data:
                return False
        return True

    def _decoded(self, item: Item, value: Value) -> Iterator[bytes]:
        """BINARY: the part's body without its encoding."""
        number, origin = (item.section or b"").decode("ascii", "replace"), item.origin or 0
        for part in self._find(number):
            decode = _decoder(part)
            if decode is not None and _same(_cut(decode(_body(self.original, part)), origin, value.size), value):
                yield from _pad(_cut(decode(_body(self.form, part)), origin, value.size), value.size)
                return
        yield from _blank(value)


def _outer_end(part: Part) -> int:
    """Of a container some servers count the line end before the boundary behind it."""
    return part.end if part.is_leaf else part.end + 2


type _Decode = Callable[[Iterable[bytes]], Iterator[bytes]]


def _decoder(part: Part) -> _Decode | None:
    if part.content.encoding in _PLAIN:
        return iter
    return _DECODERS.get(part.content.encoding) if part.is_leaf else None


def _body(mail: Spool, part: Part) -> Iterator[bytes]:
    return Window(mail).chunks(part.body, part.end)


def _read(body: Value, start: int, end: int) -> Iterator[bytes]:
    for offset in range(start, end, _PIECE):
        yield body.read(offset, min(_PIECE, end - offset))


def _blank(value: Value) -> Iterator[bytes]:
    for piece in _read(value, 0, value.size):
        yield blank(piece)


def _cut(pieces: Iterable[bytes], start: int, size: int) -> Iterator[bytes]:
    """The octets from `start` on, `size` of them where there are so many."""
    for piece in pieces:
        wanted = piece[start : start + size]
        start = max(0, start - len(piece))
        size -= len(wanted)
        if wanted:
            yield wanted
        if size <= 0:
            return


def _same(pieces: Iterable[bytes], value: Value) -> bool:
    at = 0
    for piece in pieces:
        if value.read(at, len(piece)) != piece:
            return False
        at += len(piece)
    return at == value.size


def _pad(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        size -= len(piece)
        yield piece
    if size > 0:
        yield b" " * size


def blank_value(value: Value, room: SpoolRoom) -> Value:
    """As many octets, without content."""
    return gather(_blank(value), room)


def gather(pieces: Iterator[bytes], room: SpoolRoom) -> Value:
    """The pieces, in a spool where they are many; who asked closes it. Raises SpoolFull, OSError."""
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None:
        return Octets(first)
    spool = room.open()
    try:
        for piece in (first, second):
            spool.append(piece)
        for piece in pieces:
            spool.append(piece)
    except BaseException:
        spool.close()
        raise
    spool.finish()
    return spool
