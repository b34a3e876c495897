"""Lines as they travel on a control connection: bytes in, names that survive, replies.

Rules of this file: no I/O; a name is byte-transparent (what is no UTF-8 comes out as it came in); Telnet's own
sequences are taken out (RFC 959 3.2, RFC 854); a reply ends only at its code and a space (RFC 959 4.2).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

ENCODING = "utf8-se"
"""Our codec's name: UTF-8, in which a byte that is none becomes a lone surrogate, and back."""

LINE = 8192  # the longest line of a client, bytes
_TELNET = re.compile(rb"\xff(?:([\xff])|[\xfb-\xfe].|[\xf0-\xfa])", re.DOTALL)
_SIGNALS = bytes(range(0xF0, 0x100))  # no command begins with one: ftplib and others send them without their IAC
_SECRET = frozenset({"PASS", "ACCT"})


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("-", "_") != "utf8_se":
        return None
    return codecs.CodecInfo(
        name=ENCODING,
        encode=lambda text, _errors="strict": (text.encode("utf-8", "surrogateescape"), len(text)),
        decode=lambda data, _errors="strict": (bytes(data).decode("utf-8", "surrogateescape"), len(data)),
    )


codecs.register(_find_codec)


def decode(data: bytes) -> str:
    """Text that `encode` turns back into the same bytes."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes that `decode` got."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Command:
    """A client's line: the verb in capitals, and all behind the first space, spaces at the end too."""

    verb: str
    argument: str = ""

    def __str__(self) -> str:
        if self.argument and self.verb in _SECRET:
            return f"{self.verb} ***"
        return f"{self.verb} {self.argument}" if self.argument else self.verb

    @property
    def is_clean(self) -> bool:
        """False where an argument holds what ends a line for one reader and not for another."""
        return not any(c in self.argument or c in self.verb for c in "\r\n\0")


def parse_command(line: bytes) -> Command:
    """From one line with or without its end."""
    line = _TELNET.sub(lambda match: match[1] or b"", line).lstrip(_SIGNALS)
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    verb, _, argument = decode(line).partition(" ")
    return Command(verb.upper(), argument)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, its lines as they stand on the wire without their ends."""

    lines: tuple[str, ...]

    @property
    def code(self) -> int:
        """The three digits."""
        return int(self.lines[0][:3])

    @property
    def kind(self) -> int:
        """The first digit: 1 preliminary, 2 done, 3 go on, 4 not now, 5 no."""
        return self.code // 100

    @property
    def message(self) -> str:
        """The last line's words."""
        return self.lines[-1][4:]

    @property
    def text(self) -> str:
        """As it is sent."""
        return "".join(f"{line}\r\n" for line in self.lines)

    def __str__(self) -> str:
        return self.lines[-1]


def make_reply(code: int, *lines: str) -> Reply:
    """A reply of ours; what stands between the first and the last line is indented."""
    clean = [re.sub(r"[\r\n\0]+", " ", line) for line in lines]
    if len(clean) == 1:
        return Reply((f"{code} {clean[0]}",))
    return Reply((f"{code}-{clean[0]}", *(f" {line}" for line in clean[1:-1]), f"{code} {clean[-1]}"))


class ReplyReader:
    """Gathers lines until a reply is whole; survives being interrupted between two lines. A peer that sends no reply,
    or one without end, is a ValueError."""

    MAX_LINES = 2000
    MAX_CHARACTERS = 256 * 1024

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0

    def feed(self, raw: bytes) -> Reply | None:
        """One line with its end; the reply, where this was its last line."""
        line = re.sub(r"[\r\n\0]", "?", decode(raw.removesuffix(b"\n").removesuffix(b"\r")))
        first = self._lines[0] if self._lines else line
        if not re.match(r"[1-5][0-9]{2}(?:[ -]|$)", first, re.ASCII):
            raise ValueError("what the server sent is no reply")
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) > self.MAX_LINES or self._size > self.MAX_CHARACTERS:
            raise ValueError("the server's reply does not end")
        if first[3:4] == "-" and not (line[:3] == first[:3] and line[3:4] in (" ", "")):
            return None
        reply = Reply(tuple(self._lines))
        self._lines, self._size = [], 0
        return reply
