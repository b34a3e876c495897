"""Audit logs, read line by line: files, compressed ones, standard input.

Rules of this file: memory does not grow with the log; a line that is no record is counted and passed over.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

LONGEST = 1 << 20  # bytes of a line; a record has some thousand
_GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class Reading:
    """How the reading goes: lines so far, and those among them that are no records."""

    lines: int = 0
    broken: int = 0


def read_records(name: str, reading: Reading) -> Iterator[dict[str, Any]]:
    """The records of one log; `-` is standard input. What stands before the `{` (a syslog's stamp) is passed over.

    OSError and EOFError where it cannot be read (to its end)."""
    with _open(name) as stream:
        for line in _read_lines(stream):
            reading.lines += 1
            record = parse(line)
            if record is None:
                reading.broken += 1
            else:
                yield record


def parse(line: bytes) -> dict[str, Any] | None:
    """One record; None where it is none."""
    start = line.find(b"{")
    if start < 0 or len(line) > LONGEST:
        return None
    try:
        record = json.loads(line[start:])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("time"), str) and "action" in record else None


@contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    stream: IO[bytes] = sys.stdin.buffer if name == "-" else open(name, "rb")
    try:
        if cast("Any", stream).peek(2)[:2] == _GZIP:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            yield stream
    finally:
        if name != "-":
            stream.close()


def _read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Of a line that is too long the beginning, one byte longer than the longest."""
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST)
        if line.strip():
            yield line
