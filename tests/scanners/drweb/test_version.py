"""What drwebd tells of itself: near-replies, read once more by a reader that shares no code."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Generator

from scanners.drweb.replies import REPORT_LIMIT, REPORTS_LIMIT, Incoming, bases_reply, number_reply, text_reply
from scanners.drweb.version import _describe
from scanners.printable import printable
from tests.scanners.fuzzing import cut, fuzz, spoil

type Told = int | bytes | tuple[tuple[bytes, int], ...]

WORDS = [struct.pack(">I", n) for n in (0, 1, 2, 7, REPORT_LIMIT, REPORT_LIMIT + 1, REPORTS_LIMIT, 0xFFFF_FFFF)]
WORDS += [b"drwebd", b"\x1b[2J", b"\n"]


def spell_text(text: bytes) -> bytes:
    """Length and text."""
    return struct.pack(">I", len(text)) + text


def read_number(data: io.BytesIO) -> int:
    """Four bytes, the highest first."""
    return int(struct.unpack(">I", data.read(4))[0])


def read_text(data: io.BytesIO) -> bytes:
    """Length and text, of which a NUL at the end is none."""
    length = read_number(data)
    text = data.read(length) if length <= REPORT_LIMIT else b""
    if len(text) != length:
        raise struct.error
    return text[:-1] if text.endswith(b"\0") else text


def read_bases(data: io.BytesIO) -> tuple[tuple[bytes, int], ...]:
    """Their number, then the name and the viruses of each."""
    count = read_number(data)
    if count > REPORTS_LIMIT:
        raise struct.error
    return tuple((read_text(data), read_number(data)) for _ in range(count))


SEEDS: list[tuple[Callable[[], Generator[int, bytes, Told]], Callable[[io.BytesIO], Told], bytes]] = [
    (number_reply, read_number, struct.pack(">I", 0x40021)),
    (text_reply, read_text, spell_text(b"drwebd 4.33")),
    (text_reply, read_text, spell_text(b"drwebd\0")),
    (bases_reply, read_bases, bytes(4)),
    (
        bases_reply,
        read_bases,
        struct.pack(">I", 2) + spell_text(b"base.vdb") + b"\0\1\2\3" + spell_text(b"today.vdb") + b"\0\0\1\0",
    ),
]


def test_garbage_is_no_version() -> None:
    """Told is what the bytes say, or nothing: cuts change nothing, and what is told fits into a log."""

    def trial(chance: random.Random) -> None:
        grammar, read, whole = chance.choice(SEEDS)
        data = spoil(chance, whole, WORDS)
        try:
            expected: Told | None = read(io.BytesIO(data))
        except struct.error:
            expected = None
        for parts in ([data], cut(chance, data)):
            incoming = Incoming(grammar())
            for part in parts:
                incoming.feed(part)
            incoming.end()
            assert incoming.reply == expected, (data, parts)
            assert (incoming.reply is None) == bool(incoming.problem), data
        told = expected
        words = _describe(told) if isinstance(told, tuple) else printable(told) if isinstance(told, bytes) else ""
        assert words.isprintable(), data
        assert len(words) <= 255, data

    assert fuzz(trial) > 0
