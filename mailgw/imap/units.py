"""Units of IMAP (RFC 9051, 2.2): a line, and while it ends by announcing a literal, that literal and another line.

Rules of this file: no I/O but into spools; octets may come in any pieces; lines, literals and their number are bounded;
whoever took a unit closes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from inspection.spool import Spool, SpoolFull

_MARKER = re.compile(rb"(~?)\{([0-9]+)([+-]?)\}\r\n\Z")
_PIECE = 256 * 1024
_LONGEST_NUMBER = 10  # digits: RFC 9051 has 32 bits


class UnitFault(ValueError):
    """What came is no unit, or exceeds a bound (remote fault, permanent): nobody knows where the next one begins."""


@dataclass(slots=True)
class Literal:
    """`binary` is `~{n}`, `waits` that its sender waits for a go-ahead. `body` holds the octets; None drops them, and
    `fault` says why where nobody wanted that."""

    size: int
    binary: bool
    waits: bool
    body: bytearray | Spool | None = None
    fault: Exception | None = None

    @property
    def sha256(self) -> str:
        """Of the octets that are here."""
        if isinstance(self.body, Spool):
            return self.body.sha256
        return sha256(self.body or b"").hexdigest()

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` octets from `offset`; none of a literal that was dropped."""
        if isinstance(self.body, Spool):
            return self.body.read(offset, size)
        return bytes(self.body[offset : offset + size]) if self.body is not None else b""

    def append(self, data: bytes) -> None:
        """The next octets. What cannot be kept is dropped from here on, all of it."""
        if isinstance(self.body, bytearray):
            self.body += data
        elif self.body is not None:
            try:
                self.body.append(data)
            except (SpoolFull, OSError) as why:
                self.fault = why
                self.body.close()
                self.body = None

    def finish(self) -> None:
        """All octets came."""
        if isinstance(self.body, Spool):
            self.body.finish()

    def close(self) -> None:
        """Give the room back. May be called twice."""
        if isinstance(self.body, Spool):
            self.body.close()

    def marker(self) -> bytes:
        """The announcement as it goes to a server that is asked before the octets are sent."""
        return b"%s{%d}\r\n" % (b"~" if self.binary else b"", self.size)


@dataclass(slots=True)
class Unit:
    """`texts` are lines with their ends; behind all but the last of them stands the literal of the same number."""

    texts: list[bytes] = field(default_factory=list)
    literals: list[Literal] = field(default_factory=list)

    @classmethod
    def line(cls, text: bytes) -> Unit:
        """A unit of one line, given without its end."""
        return cls([text + b"\r\n"])

    def flat(self) -> bytes:
        """The unit in one line without its end; NUL, number, NUL stands for each literal."""
        if not self.literals:
            return self.texts[0][:-2]
        texts = [_MARKER.sub(b"", text) + b"\0%d\0" % n for n, text in enumerate(self.texts[:-1])]
        return b"".join(texts) + self.texts[-1][:-2]

    def pieces(self) -> Iterator[bytes]:
        """The octets as they came."""
        for text, literal in zip(self.texts, self.literals, strict=False):
            yield text
            for offset in range(0, literal.size, _PIECE):
                yield literal.read(offset, _PIECE)
        yield self.texts[-1]

    def close(self) -> None:
        """Let its literals go. May be called twice."""
        for literal in self.literals:
            literal.close()


type Keep = Callable[[Unit, Literal], None]
"""Is told of each literal before its octets come, and gives it a `body` to keep them in. May raise."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Octets of all lines of a unit together, octets of all literals that are kept in memory, number of literals,
    octets of one literal."""

    lines: int
    memory: int
    literals: int
    literal: int = 4 << 30


class UnitReader:
    """Takes units off what a peer sends. `has_literals` says of a unit's first line whether literals may follow."""

    def __init__(self, bounds: Bounds, keep: Keep, has_literals: Callable[[bytes], bool] = lambda line: True) -> None:
        self._bounds, self._keep, self._has_literals = bounds, keep, has_literals
        self._unit = Unit()
        self._left = 0  # octets of the last literal that are still to come
        self._lines = self._held = 0
        self._seen = 0  # octets of the inbox that hold no line end
        self._plain = False  # no literals in this unit

    def __repr__(self) -> str:
        return f"<UnitReader {len(self._unit.texts)} lines, {self._left} octets to come>"

    @property
    def begun(self) -> bool:
        """Whether a unit was begun and is not complete."""
        return bool(self._unit.texts)

    @property
    def in_literal(self) -> bool:
        """Whether octets of a literal are to come."""
        return self._left > 0

    def take(self, inbox: bytearray) -> Unit | None:
        """The next unit, None while it is not complete. Raises UnitFault, and what `keep` raises: the unit is gone."""
        try:
            return self._take(inbox)
        except BaseException:
            self.close()
            raise

    def _take(self, inbox: bytearray) -> Unit | None:
        while True:
            if self._left:
                self._fill(inbox)
                if self._left:
                    return None
            line = self._take_line(inbox)
            if line is None:
                return None
            self._unit.texts.append(line)
            if not self._begin_literal(line):
                unit, self._unit = self._unit, Unit()
                self._lines = self._held = 0
                return unit

    def _take_line(self, inbox: bytearray) -> bytes | None:
        end = inbox.find(b"\n", self._seen)
        size = len(inbox) if end < 0 else end + 1
        if self._lines + size > self._bounds.lines:
            raise UnitFault(f"more than {self._bounds.lines} octets of lines")
        if end < 0:
            self._seen = len(inbox)
            return None
        line = bytes(inbox[:size])
        del inbox[:size]
        self._seen, self._lines = 0, self._lines + size
        if not line.endswith(b"\r\n"):
            raise UnitFault("a line that ends in LF alone")
        if b"\0" in line:
            raise UnitFault("NUL in a line")
        if len(self._unit.texts) == 0:
            self._plain = not self._has_literals(line)
        return line

    def _begin_literal(self, line: bytes) -> bool:
        found = None if self._plain else _MARKER.search(line)
        if found is None:
            return False
        if len(found[2]) > _LONGEST_NUMBER or int(found[2]) > self._bounds.literal:
            raise UnitFault("a literal that is too large")
        if len(self._unit.literals) >= self._bounds.literals:
            raise UnitFault(f"more than {self._bounds.literals} literals")
        literal = Literal(int(found[2]), bool(found[1]), not found[3])
        self._keep(self._unit, literal)
        self._unit.literals.append(literal)
        self._held += literal.size if isinstance(literal.body, bytearray) else 0
        if self._held > self._bounds.memory:
            raise UnitFault(f"more than {self._bounds.memory} octets of literals")
        self._left = literal.size
        if not self._left:
            literal.finish()
        return True

    def _fill(self, inbox: bytearray) -> None:
        literal = self._unit.literals[-1]
        while self._left and inbox:
            piece = bytes(inbox[: min(self._left, _PIECE)])
            del inbox[: len(piece)]
            literal.append(piece)
            self._left -= len(piece)
        if not self._left:
            literal.finish()

    def close(self) -> None:
        """Let a unit that was begun go."""
        self._unit.close()
        self._unit, self._left, self._lines, self._held, self._seen = Unit(), 0, 0, 0, 0
