"""What clamd's words mean. No sockets here.

Rules of this file: a reply is read from its right end, for the left end may hold any name; every reply up to
the end of the connection counts and the worst one wins; `free` is granted on one form alone: a single
`SUBJECT: OK`, terminated, with the connection ended in order after clamd took everything. Source: clamd(8),
clamd/server-th.c and session.c of ClamAV 1.4, and a running clamd 1.4.6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy.verdict import Status
from scanners.engine import Answer
from scanners.printable import printable

REPLY_LIMIT = 64 * 1024
"""Bytes of reply that are read at most; what is longer cannot be `free`."""

TIMED_OUT = b"COMMAND READ TIMED OUT\n"
"""Ends with a newline even where NUL was agreed on."""

STREAM = re.compile(rb"stream")
DESCRIPTOR = re.compile(rb"fd\[\d+\]")

_WORST_FIRST = (Status.FOUND, Status.ERROR, Status.UNKNOWN, Status.SKIPPED, Status.FREE)
_NOT_SCANNED = ("Heuristics.Limits.Exceeded", "Heuristics.Encrypted.")
_EXCLUDED = (b": Excluded", b": Excluded (another filesystem)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One connection, from our command to its end.

    `delivered`: clamd took all we had to send. `ended`: it closed the connection in order, not by a reset.
    """

    reply: bytes
    delivered: bool = True
    ended: bool = True


def judge(said: Exchange, subject: re.Pattern[bytes], terminator: bytes = b"\0") -> Answer:
    """The answer in one exchange about one `subject` (what stands before the colon)."""
    *lines, rest = said.reply[:REPLY_LIMIT].split(terminator)
    answers = [_judge_line(line, subject) for line in lines]
    if rest or not answers:
        answers.append(_judge_rest(rest, len(said.reply)))
    worst = min(answers, key=lambda a: _WORST_FIRST.index(a.status))
    return worst if worst.status is not Status.FREE else _doubt_free(said, len(answers))


def read_version(reply: bytes) -> str:
    """The answer to VERSION, e.g. `ClamAV 1.4.6/27000/Sun Nov 22 ...`; "" where it is none."""
    words = reply.removesuffix(b"\0")
    return printable(words) if words.startswith(b"ClamAV ") else ""


def _judge_line(line: bytes, subject: re.Pattern[bytes]) -> Answer:
    if line.endswith(b": OK") and subject.fullmatch(line.removesuffix(b": OK")):
        return Answer(Status.FREE)
    words = printable(line)
    if line.endswith(b" FOUND"):
        return _judge_found(line, subject, words)
    if line.endswith(_EXCLUDED) or line == b"INSTREAM size limit exceeded. ERROR":
        return Answer(Status.SKIPPED, detail=words)
    if line.endswith(b" ERROR") or line == TIMED_OUT.strip():
        return Answer(Status.ERROR, detail=words)
    return Answer(Status.UNKNOWN, detail=words)


def _judge_found(line: bytes, subject: re.Pattern[bytes], words: str) -> Answer:
    name = line.removesuffix(b" FOUND")
    before = subject.match(name)
    if before and name.startswith(b": ", before.end()):
        name = name[before.end() + 2 :]
    virus = printable(name).strip() or "unnamed"
    if virus.startswith(_NOT_SCANNED):
        return Answer(Status.SKIPPED, detail=virus)
    return Answer(Status.FOUND, virus=virus, detail=words)


def _judge_rest(rest: bytes, said: int) -> Answer:
    """What stands behind the last terminator: nothing, in an honest reply."""
    if said > REPLY_LIMIT:
        return Answer(Status.ERROR, detail=f"a reply of more than {REPLY_LIMIT} bytes")
    if rest == TIMED_OUT:
        return Answer(Status.ERROR, detail=printable(TIMED_OUT.strip()))
    if rest:
        return Answer(Status.ERROR, detail=f"the reply was cut short: {printable(rest)}")
    return Answer(Status.ERROR, detail="the connection ended without a reply")


def _doubt_free(said: Exchange, replies: int) -> Answer:
    if not said.delivered:
        return Answer(Status.ERROR, detail="OK was said before the whole object had been sent")
    if not said.ended:
        return Answer(Status.ERROR, detail="the connection broke after OK")
    if replies > 1:
        return Answer(Status.UNKNOWN, detail=f"{replies} replies to one object")
    return Answer(Status.FREE)
