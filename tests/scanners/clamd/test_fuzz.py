"""Garbage is never free: near-replies of clamd's in random pieces, as the wire may bring them."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections import deque
from typing import cast

from policy.verdict import Status
from scanners.clamd.replies import DESCRIPTOR, REPLY_LIMIT, STREAM, TIMED_OUT, Exchange, judge, read_version
from scanners.clamd.wire import _Ear
from tests.scanners.fuzzing import cut, fuzz, spoil

ENDINGS = [
    *(b": OK\0", b": OK\0", b": OK\0", b": Eicar FOUND\0", b": Heuristics.Encrypted.Zip FOUND\0"),
    *(b": Can't write to file ERROR\0", b": Excluded\0", b": what\0"),
]
WORDS = [
    *(
        b"stream",
        b"fd[10]",
        b"fd[",
        b"]",
        b": ",
        b"OK",
        b"OK\0",
        b": OK",
        b"stream: OK\0",
        b"fd[10]: OK\0",
        b"\0",
        b"\n",
    ),
    *(b" FOUND", b" FOUND\0", b" ERROR", b" ERROR\0", b"INSTREAM size limit exceeded. ERROR\0", b"PONG\0", TIMED_OUT),
    *(b"Heuristics.Limits.Exceeded", b"Excluded (another filesystem)", "\u0661".encode()),
]
# What is free, once more and in other words than the adapter's.
FREE = {STREAM: re.compile(rb"\Astream: OK\x00\Z"), DESCRIPTOR: re.compile(rb"\Afd\[[0-9]+\]: OK\x00\Z")}


class Peer:
    """A socket that brings these pieces, and an exception where one stands among them."""

    def __init__(self, pieces: list[bytes | type[OSError]]) -> None:
        self._pieces = deque(pieces)

    def recv(self, size: int) -> bytes:
        piece = self._pieces.popleft()
        if not isinstance(piece, bytes):
            raise piece
        if piece[size:]:
            self._pieces.appendleft(piece[size:])
        return piece[:size]


class Heard:
    """As much of a future as is needed."""

    def __init__(self) -> None:
        self.result: tuple[bytes, bool] | None = None

    def done(self) -> bool:
        return self.result is not None

    def set_result(self, result: tuple[bytes, bool]) -> None:
        self.result = result


def hear(pieces: list[bytes | type[OSError]]) -> tuple[bytes, bool]:
    """What the adapter hears of these pieces, and whether they ended in order."""
    heard = Heard()
    ear = _Ear(cast("socket.socket", Peer(pieces)), cast("asyncio.Future[tuple[bytes, bool]]", heard))
    for _ in range(len(pieces) + 1):
        if heard.result is None:
            ear.hear()
    assert heard.result is not None, pieces
    return heard.result


def compose(chance: random.Random, data: bytes, *, ended: bool) -> list[bytes | type[OSError]]:
    """The data in pieces, between which nothing is there yet now and then, and an end."""
    parts = cut(chance, data) if chance.random() < 0.5 else [data] * bool(data)
    pieces: list[bytes | type[OSError]] = []
    for part in parts:
        pieces += [BlockingIOError, part] if chance.random() < 0.3 else [part]
    return [*pieces, b"" if ended else ConnectionResetError]


def test_garbage_is_never_free() -> None:
    """Near-replies to INSTREAM and FILDES: free is exactly its one form, in a whole exchange."""
    seen: set[Status] = set()

    def trial(chance: random.Random) -> None:
        subject = chance.choice((STREAM, DESCRIPTOR))
        name = b"stream" if subject is STREAM else b"fd[%d]" % chance.randrange(10 ** chance.randrange(1, 7))
        data = spoil(chance, name + chance.choice(ENDINGS), WORDS)
        if chance.random() < 0.001:
            data = chance.choice((data + REPLY_LIMIT * b"x", REPLY_LIMIT * b"x" + data, data * (REPLY_LIMIT // 9)))
        delivered, ended = chance.random() < 0.9, chance.random() < 0.9
        reply, in_order = hear(compose(chance, data, ended=ended))
        status = judge(Exchange(reply, delivered=delivered, ended=in_order), subject).status
        clean = FREE[subject].fullmatch(data) is not None and delivered and ended
        assert (status is Status.FREE) == clean, (data, reply, delivered, in_order)
        assert len(reply) <= REPLY_LIMIT + 4096
        seen.add(status)

    assert fuzz(trial) > 0
    assert seen == set(Status)


VERSION = b"ClamAV 1.4.6/27000/Sun Nov 22 10:00:00 2026\0"
VERSION_WORDS = [
    b"ClamAV ",
    b"ClamAV",
    b"/",
    b"\0",
    b"\n",
    b"\x1b[2J",
    b"UNKNOWN COMMAND\0",
    b"\xe2\x80\xae",
    300 * b"9",
]


def test_garbage_is_no_version() -> None:
    """A version is one line that begins as clamd's does, of at most 255 characters fit for a log; or there is none."""

    def trial(chance: random.Random) -> None:
        data = spoil(chance, VERSION, VERSION_WORDS)
        version = read_version(data)
        assert bool(version) == data.startswith(b"ClamAV "), data
        assert version == "" or version.startswith("ClamAV "), data
        assert version.isprintable(), data
        assert len(version) <= 255, data

    assert fuzz(trial) > 0
