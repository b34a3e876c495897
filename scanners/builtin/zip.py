"""Members of a zip file, as its central directory lists them.

Rules of this file: the directory is read entry by entry, never as a whole; every number in it is checked
against what is there; what the directory does not list but looks like a member makes the file ambiguous.
Source: PKWARE's APPNOTE 6.3.10.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from scanners.builtin.budget import MAX_DICTIONARY, Budget, Damaged, Unseen
from scanners.builtin.inflate import Decompressor, ZlibDecompressor, inflate
from scanners.builtin.stream import CHUNK, Stream

LOCAL = b"PK\x03\x04"
_CENTRAL = b"PK\x01\x02"
_END = b"PK\x05\x06"
_END_SIZE, _CENTRAL_SIZE, _LOCAL_SIZE = 22, 46, 30
_LONGEST_COMMENT = 65535
_WINDOW = 1024 * 1024  # as far as 7-Zip looks for a zip file behind a loader; searched at once
_MOST_ENDS = 100  # four bytes that may be the end of a zip file, looked into
_LZMA_HEAD = 9


class Seekable(Protocol):
    """Bytes at any place."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""


@dataclass(frozen=True, slots=True)
class _Entry:
    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    header: int


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int
    end: int
    shift: int


def has_directory(file: Seekable) -> bool:
    """Whether a zip file's end stands at the end, whatever stands in front."""
    return _find_end(file) is not None


@dataclass(frozen=True, slots=True)
class Front:
    """The first `size` bytes of a file."""

    file: Seekable
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return self.file.read(offset, max(0, min(size, self.size - offset)))


def find_front(file: Seekable) -> Front | None:
    """The part of a file that ends with a zip file's directory, where something else stands behind it, as far back as
    readers look for it. In a form, a mail or a disk image that is how a zip file lies; its readers open it there. Where
    a member begins in the first megabyte it may end anywhere: some readers search for it from there."""
    first = max(0, file.size - _END_SIZE - _LONGEST_COMMENT)
    front = _find_front_in(file, first, file.size)
    if front is not None or first == 0 or not _has_member_ahead(file):
        return front
    while first > 0 and front is None:
        first, stop = max(0, first - _WINDOW), first + _END_SIZE
        front = _find_front_in(file, first, stop)
    return front


def _find_front_in(file: Seekable, first: int, stop: int) -> Front | None:
    part = file.read(first, stop - first)
    at = part.rfind(_END)
    for _ in range(_MOST_ENDS):
        if at < 0:
            return None
        size, comment = (int.from_bytes(part[at + low : at + high], "little") for low, high in ((12, 16), (20, 22)))
        if 0 < size <= first + at and file.read(first + at - size, 4) == _CENTRAL:
            return Front(file, min(first + at + _END_SIZE + comment, file.size))
        at = part.rfind(_END, 0, at)
    return None


def _has_member_ahead(file: Seekable) -> bool:
    return LOCAL in file.read(0, _WINDOW)


def members(file: Seekable, budget: Budget) -> Iterator[Stream]:
    """Each member's data; reading it raises Unseen or Damaged where it cannot be had, and the next one
    follows. In a Front it is no fault that there is more than the directory lists."""
    directory = _read_end(file)
    spans: list[tuple[int, int]] = [(directory.start, file.size)]
    for entry in _entries(file, directory):
        budget.enter()
        start = _data_start(file, entry)
        spans.append((entry.header, start + entry.packed))
        yield Stream(_unpack(file, entry, start, budget))
    if not isinstance(file, Front):
        _search_gaps(file, spans, budget)


def _find_end(file: Seekable) -> int | None:
    first = max(0, file.size - _END_SIZE - _LONGEST_COMMENT)
    tail = file.read(first, file.size - first)
    found = tail.rfind(_END)
    while found >= 0:
        # Programs that handle zip files hold these four bytes too: only the comment's length tells.
        comment = int.from_bytes(tail[found + 20 : found + 22], "little")
        if found + _END_SIZE + comment == len(tail):
            return first + found
        found = tail.rfind(_END, 0, found)
    return None


def _read_end(file: Seekable) -> _Directory:
    at = _find_end(file)
    if at is None:
        raise Damaged("a zip file without its directory")
    disk, first_disk, here, entries, size, offset = struct.unpack("<4x4H2L2x", file.read(at, _END_SIZE))
    if 0xFFFF in (here, entries) or 0xFFFFFFFF in (size, offset):
        raise Unseen("a zip64 file")
    if disk or first_disk or here != entries:
        raise Unseen("a zip file in several volumes")
    if at - size < offset:
        raise Damaged("a zip file whose directory is not where it should be")
    return _Directory(start=at - size, end=at, shift=at - size - offset)


def _entries(file: Seekable, directory: _Directory) -> Iterator[_Entry]:
    at = directory.start
    while at < directory.end:
        raw = file.read(at, _CENTRAL_SIZE)
        if len(raw) < _CENTRAL_SIZE or raw[:4] != _CENTRAL:
            raise Damaged("a zip file with a damaged directory")
        fields = struct.unpack("<4x4x2H4x3L3H8xL", raw)
        flags, method, crc, packed, unpacked, name, extra, comment, header = fields
        if 0xFFFFFFFF in (packed, unpacked, header):
            raise Unseen("a zip64 file")
        yield _Entry(flags, method, crc, packed, unpacked, header + directory.shift)
        at += _CENTRAL_SIZE + name + extra + comment
    if at != directory.end:
        raise Damaged("a zip file with a damaged directory")


def _data_start(file: Seekable, entry: _Entry) -> int:
    raw = file.read(entry.header, _LOCAL_SIZE)
    if len(raw) < _LOCAL_SIZE or raw[:4] != LOCAL:
        raise Damaged("a zip member is not where the directory says")
    flags, method, name, extra = struct.unpack("<6x2H16x2H", raw)
    if method != entry.method or (flags ^ entry.flags) & 1:
        raise Damaged("a zip member is described in two ways")
    return entry.header + _LOCAL_SIZE + int(name) + int(extra)


def _unpack(file: Seekable, entry: _Entry, start: int, budget: Budget) -> Iterator[bytes]:
    if entry.flags & 1:
        raise Unseen("an encrypted zip member")
    packed = Stream(_region(file, start, entry.packed))
    crc = length = 0
    for part in _decoded(packed, entry, budget):
        crc, length = zlib.crc32(part, crc), length + len(part)
        yield part
    if crc != entry.crc or length != entry.unpacked:
        raise Damaged("a zip member is not what the directory says")


def _decoded(packed: Stream, entry: _Entry, budget: Budget) -> Iterator[bytes]:
    match entry.method:
        case 0:
            return _stored(packed, budget)
        case 8:
            return inflate(packed, lambda: ZlibDecompressor(-15), budget)
        case 12:
            return inflate(packed, bz2.BZ2Decompressor, budget)
        case 14:
            machine = _open_lzma(packed.read(_LZMA_HEAD))
            return _first(inflate(packed, lambda: machine, budget), entry.unpacked)
        case _:
            raise Unseen(f"a zip member packed by method {entry.method}")


def _first(parts: Iterator[bytes], length: int) -> Iterator[bytes]:
    """An LZMA member need not have an end mark: its length ends it."""
    while length > 0 and (part := next(parts, None)) is not None:
        length -= len(part)
        yield part


def _stored(packed: Stream, budget: Budget) -> Iterator[bytes]:
    for part in packed.rest():
        budget.tick()
        budget.pay(len(part))
        yield part


def _open_lzma(head: bytes) -> Decompressor:
    """APPNOTE 5.8.8: version, size of properties, then LZMA's five bytes of properties."""
    if len(head) < _LZMA_HEAD or head[2:4] != b"\x05\0" or head[4] >= 9 * 5 * 5:
        raise Damaged("a zip member with damaged LZMA properties")
    dictionary = int.from_bytes(head[5:9], "little")
    if dictionary > MAX_DICTIONARY:
        raise Unseen("compressed data need too much memory")
    rest, lc = divmod(head[4], 9)
    pb, lp = divmod(rest, 5)
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}]
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    except lzma.LZMAError as why:
        raise Damaged(f"a zip member with damaged LZMA properties: {why}") from why


def _region(file: Seekable, start: int, size: int) -> Iterator[bytes]:
    end = start + size
    while start < end:
        part = file.read(start, min(CHUNK, end - start))
        if not part:
            raise Damaged("a zip file is cut short")
        start += len(part)
        yield part


def _search_gaps(file: Seekable, spans: list[tuple[int, int]], budget: Budget) -> None:
    """What no entry covers must not look like a member: some readers go by members, not by the directory."""
    at = 0
    for start, end in sorted(spans):
        tail = b""
        for part in _region(file, at, max(0, start - at)):
            budget.tick()
            if LOCAL in tail + part:
                raise Damaged("a zip file with members that its directory does not list")
            tail = part[-3:]
        at = max(at, end)
