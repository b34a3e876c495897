"""What drwebd is asked, and what its words mean. No sockets here.

Rules of this file: a reply counts when it is complete: result, number of reports, reports; numbers in it are
bounded before they are believed; the result's bits are judged from the worst down; `free` is granted on one form
alone: IS_CLEAN (with EVAL_KEY or without) and no report, after the daemon took everything and the connection ended
in order. We never ask it to cure, move, rename or delete. Source: five public clients of drwebd up to 6.0 (Exim,
avsmtpd, fuglu, HAVP, amavisd-new), where they agree.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntFlag

from policy.verdict import Status
from scanners.engine import Answer
from scanners.printable import printable

REPORT_LIMIT = 64 * 1024
"""Bytes of one report, or of a name; what is longer is no reply."""

REPORTS_LIMIT = 65_536
"""Reports, or databases, in one reply."""

TOTAL_LIMIT = 16 * 1024 * 1024
"""Bytes of all reports of one reply; the first `KEPT_LIMIT` are kept."""

KEPT_LIMIT = 256 * 1024

SIZE_LIMIT = 2**32 - 1
"""Bytes of the largest object that can be announced."""

VERSION, BASEINFO, IDSTRING = (struct.pack(">I", command) for command in (2, 3, 4))

_SCAN = 1
_RETURN_VIRUSES, _HEURISTIC_ON = 1, 8
_FLAGS = _RETURN_VIRUSES | _HEURISTIC_ON
_WORD = 4


class Result(IntFlag):
    """The bits of a result."""

    READ_ERR = 1 << 0
    WRITE_ERR = 1 << 1
    NOMEMORY = 1 << 2
    CRC_ERROR = 1 << 3
    READSOCKET = 1 << 4
    KNOWN_VIRUS = 1 << 5
    UNKNOWN_VIRUS = 1 << 6
    VIRUS_MODIFICATION = 1 << 7
    HAVE_CURED = 1 << 8
    TIMEOUT = 1 << 9
    SYMLINK = 1 << 10
    NO_REGFILE = 1 << 11
    SKIPPED = 1 << 12
    TOO_BIG = 1 << 13
    TOO_COMPRESSED = 1 << 14
    BAD_CALL = 1 << 15
    EVAL_KEY = 1 << 16
    FILTER_REJECT = 1 << 17
    ARCHIVE_LEVEL = 1 << 18
    HAVE_DELETED = 1 << 19
    IS_CLEAN = 1 << 20
    LICENSE_ERROR = 1 << 21
    ADWARE = 1 << 22
    DIALER = 1 << 23
    JOKE = 1 << 24
    RISKWARE = 1 << 25
    HACKTOOL = 1 << 26


def _mask(*bits: Result) -> int:
    return sum(bits)


_R = Result
_TABLE = (
    (Status.FOUND, _mask(_R.KNOWN_VIRUS, _R.UNKNOWN_VIRUS, _R.VIRUS_MODIFICATION)),
    (Status.FOUND, _mask(_R.ADWARE, _R.DIALER, _R.JOKE, _R.RISKWARE, _R.HACKTOOL)),
    (Status.ERROR, _mask(_R.READ_ERR, _R.WRITE_ERR, _R.NOMEMORY, _R.READSOCKET, _R.BAD_CALL, _R.LICENSE_ERROR)),
    (Status.SKIPPED, _mask(_R.CRC_ERROR, _R.TIMEOUT, _R.SYMLINK, _R.NO_REGFILE, _R.SKIPPED)),
    (Status.SKIPPED, _mask(_R.TOO_BIG, _R.TOO_COMPRESSED, _R.ARCHIVE_LEVEL)),
)
"""From the top: the first row with a bit that is set decides."""

_CLEAN = (_mask(_R.IS_CLEAN), _mask(_R.IS_CLEAN, _R.EVAL_KEY))
"""The whole results, not bits of them: an undefined bit beside IS_CLEAN is a word we do not understand."""

_NAMES = {bit.name: int(bit) for bit in Result if bit.name is not None}
_DEFINED = _mask(*Result)
_INFECTED = re.compile(rb"infected\s+with\s+(.+?)\s*\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply to a scan. `reports`: those that were kept; `count`: all."""

    code: int
    reports: tuple[bytes, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Exchange[T]:
    """One connection, from our request to its end.

    `reply` None: there was none, or not a whole one; `problem` says why. `delivered`: all we had to send was taken.
    `surplus`: something came behind the reply. `ended`: the connection was not reset then.
    """

    reply: T | None
    problem: str = ""
    delivered: bool = True
    surplus: bool = False
    ended: bool = True


class Nonsense(ValueError):
    """A number that no honest daemon says."""


def request_bytes(size: int) -> bytes:
    """What goes before an object of `size` bytes, at most `SIZE_LIMIT`."""
    return struct.pack(">IIII", _SCAN, _FLAGS, 0, size)


def request_path(path: bytes) -> bytes:
    """Asks about a file that the daemon opens itself."""
    return struct.pack(">III", _SCAN, _FLAGS, len(path)) + path + bytes(_WORD)


class Incoming[T]:
    """A reply that comes in pieces, by one of the grammars below."""

    def __init__(self, grammar: Generator[int, bytes, T]) -> None:
        self._grammar = grammar
        self._wanted = next(grammar)
        self._pending = bytearray()
        self.reply: T | None = None
        self.problem = ""
        self.surplus = False
        self.heard = 0

    @property
    def done(self) -> bool:
        """Whether more of it cannot change anything: the reply is whole, or none."""
        return self.reply is not None or bool(self.problem)

    def feed(self, data: bytes) -> None:
        """The next bytes, however they were cut."""
        self.heard += len(data)
        if self.done:
            self.surplus = self.surplus or bool(data)
            return
        self._pending += data
        while not self.done and len(self._pending) >= self._wanted:
            part = bytes(self._pending[: self._wanted])
            del self._pending[: self._wanted]
            self._advance(part)
        if self.done:
            self.surplus = bool(self._pending)

    def end(self) -> None:
        """Nothing more comes."""
        if not self.done:
            cut = f"the reply was cut short after {self.heard} bytes"
            self.problem = cut if self.heard else "the connection ended without a reply"

    def _advance(self, part: bytes) -> None:
        try:
            self._wanted = self._grammar.send(part)
        except StopIteration as whole:
            self.reply = whole.value
        except Nonsense as why:
            self.problem = str(why)


def scan_reply() -> Generator[int, bytes, Reply]:
    """Grammar: result, count, count x (length, report)."""
    code = _number((yield _WORD))
    count = _number((yield _WORD))
    _bound(count, REPORTS_LIMIT, "reports")
    kept, total, room = [], 0, KEPT_LIMIT
    for _ in range(count):
        report = yield from _text()
        total += len(report)
        _bound(total, TOTAL_LIMIT, "bytes of reports")
        if len(report) <= room:
            kept.append(report)
            room -= len(report)
    return Reply(code, tuple(kept), count)


def number_reply() -> Generator[int, bytes, int]:
    """Grammar of the answer to VERSION: a number."""
    return _number((yield _WORD))


def text_reply() -> Generator[int, bytes, bytes]:
    """Grammar of the answer to IDSTRING: length, text."""
    return (yield from _text())


def bases_reply() -> Generator[int, bytes, tuple[tuple[bytes, int], ...]]:
    """Grammar of the answer to BASEINFO: count, count x (length, name, viruses)."""
    count = _number((yield _WORD))
    _bound(count, REPORTS_LIMIT, "databases")
    bases, total = [], 0
    for _ in range(count):
        name = yield from _text()
        total += len(name)
        _bound(total, TOTAL_LIMIT, "bytes of names")
        bases.append((name, _number((yield _WORD))))
    return tuple(bases)


def _text() -> Generator[int, bytes, bytes]:
    length = _number((yield _WORD))
    _bound(length, REPORT_LIMIT, "bytes in one text")
    text = (yield length) if length else b""
    return text.removesuffix(b"\0")


def _number(word: bytes) -> int:
    return int.from_bytes(word)


def _bound(number: int, most: int, what: str) -> None:
    if number > most:
        raise Nonsense(f"a reply with {number} {what}")


def judge(said: Exchange[Reply]) -> Answer:
    """The answer in one exchange."""
    reply = said.reply
    if reply is None:
        return Answer(Status.ERROR, detail=said.problem)
    status = _judge_code(reply.code)
    named = [printable(match[1]) for report in reply.reports if (match := _INFECTED.search(report))]
    words = _describe(reply)
    if status is Status.FOUND or named:
        return Answer(Status.FOUND, virus=named[0] if named else _nickname(reply), detail=words)
    if status is not Status.FREE:
        return Answer(status, detail=words)
    return _doubt_free(said, reply, words)


def _judge_code(code: int) -> Status:
    for status, bits in _TABLE:
        if code & bits:
            return status
    return Status.FREE if code in _CLEAN else Status.UNKNOWN


def _doubt_free(said: Exchange[Reply], reply: Reply, words: str) -> Answer:
    if not said.delivered:
        return Answer(Status.ERROR, detail="clean was said before the whole object had been sent")
    if not said.ended:
        return Answer(Status.ERROR, detail="the connection broke after clean")
    if said.surplus:
        return Answer(Status.UNKNOWN, detail="more was said after clean")
    if reply.count:
        return Answer(Status.UNKNOWN, detail=words)
    return Answer(Status.FREE)


def _nickname(reply: Reply) -> str:
    """Where no report names it."""
    texts = [text for report in reply.reports if (text := printable(report).strip())]
    return texts[0] if texts else "unnamed"


def _describe(reply: Reply) -> str:
    bits = [name for name, bit in _NAMES.items() if reply.code & bit]
    rest = reply.code & ~_DEFINED
    words = "|".join([*bits, hex(rest)] if rest else bits) or "0"
    reports = f"; {printable(b'; '.join(reply.reports[:3]))}" if reply.reports else ""
    return f"{words}, {reply.count} reports{reports}" if reply.count else words
