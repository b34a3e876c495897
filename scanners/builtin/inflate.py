"""Decompression with a bounded output.

Rules of this file: no call produces more than a chunk; the end mark and checksum of every format are
checked; what follows the end is another stream of the same kind, zero padding, or damage.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from scanners.builtin.budget import (
    MAX_DICTIONARY,
    MAX_RATIO,
    RATIO_COUNTS_FROM,
    Budget,
    Damaged,
    Excess,
    Unseen,
)
from scanners.builtin.stream import CHUNK, Stream

_INPUT = 16 * 1024


class Decompressor(Protocol):
    """What bz2 and lzma offer."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class ZlibDecompressor:
    """zlib in the shape of the others; `wbits` as zlib.decompressobj has it (31 gzip, -15 raw)."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        # A full output means that more may come without any input.
        return not self._inner.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def open_gzip() -> Decompressor:
    """RFC 1952."""
    return ZlibDecompressor(31)


def open_xz() -> Decompressor:
    """The .xz format, within our memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)


def inflate(stream: Stream, make: Callable[[], Decompressor], budget: Budget, *, magic: bytes = b"") -> Iterator[bytes]:
    """What is packed in the stream: one compressed stream, or with `magic` several in a row."""
    taken = given = 0
    while True:
        machine = make()
        while not machine.eof:
            data = stream.read(_INPUT) if machine.needs_input else b""
            if machine.needs_input and not data:
                raise Damaged("compressed data are cut short")
            out = _decompress(machine, data)
            taken, given = taken + len(data), given + len(out)
            _judge_ratio(taken, given)
            budget.tick()
            budget.pay(len(out))
            if out:
                yield out
        stream.unread(machine.unused_data)
        if not magic or stream.peek(len(magic)) != magic:
            break
    if any(any(part) for part in stream.rest()):
        raise Damaged("bytes behind the end of compressed data")


def _decompress(machine: Decompressor, data: bytes) -> bytes:
    try:
        return machine.decompress(data, CHUNK)
    except lzma.LZMAError as why:
        if "limit" in str(why).lower():
            raise Unseen("compressed data need too much memory") from why
        raise Damaged(f"compressed data: {why}") from why
    except (zlib.error, OSError, EOFError, ValueError) as why:
        raise Damaged(f"compressed data: {why}") from why


def _judge_ratio(taken: int, given: int) -> None:
    if given > RATIO_COUNTS_FROM and given > MAX_RATIO * taken:
        raise Excess(f"unpacks to more than {MAX_RATIO} times its size")


def open_bzip2() -> Decompressor:
    """The bzip2 format."""
    return bz2.BZ2Decompressor()
