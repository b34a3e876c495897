"""Where an object waits for its verdict: memory first, then an unlinked temporary file behind it.

Rules of this file: whoever opened a spool closes it; a closed spool counts for nothing in its room; a spool is
readable while it grows and frozen by `finish`; every cap is checked before a byte is kept; of one object no more than
the room's `memory` lies in memory, the rest in the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from scanners.body import SparseBody

_COPY_SLICE = 1 << 20
_SMALL = 4096  # smaller pieces are gathered: each piece of its own costs some hundred bytes
_IOV_MAX = 1024  # limits.h(0p)


class SpoolFull(OSError):
    """A cap of the policy's `spool` section is reached (local fault, temporary): the object is an `error`."""


class SpoolRoom:
    """Opens spools and bounds them, each and all together. Sizes in bytes (the policy's `spool`)."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        memory: int = 1 << 20,
        max_object: int = 1 << 30,
        max_total: int = 8 << 30,
    ) -> None:
        self.directory = directory or Path(tempfile.gettempdir())
        self.memory = memory
        self.max_object = max_object
        self.max_total = max_total
        self.used = 0
        self._counting = threading.Lock()  # mails are read in threads

    def open(self) -> Spool:
        """An empty spool; the caller closes it."""
        return Spool(self)

    def take(self, size: int) -> None:
        """Count `size` more bytes, or raise SpoolFull."""
        with self._counting:
            if self.used + size > self.max_total:
                raise SpoolFull(f"no room to spool: all objects together would exceed max-total {self.max_total}")
            self.used += size

    def give_back(self, size: int) -> None:
        """The bytes of a closed spool are free again."""
        with self._counting:
            self.used -= size

    def __repr__(self) -> str:
        return f"SpoolRoom({self.used} of {self.max_total} bytes in use)"


class Spool:
    """One object's bytes, growing until `finish`. Fulfils `scanners.engine.Body` from then on.

    `append` may raise SpoolFull (a cap) or OSError (the disk): what was appended before stays readable.
    Writing to the page cache is done inline: a megabyte takes some 200 us, a thread would cost more. It is done in
    large pieces, of which the kernel makes large pages: that is twice as fast as 64 KiB at a time.
    """

    __slots__ = ("_digest", "_file", "_hash", "_held", "_pieces", "_room", "complete", "size")

    def __init__(self, room: SpoolRoom) -> None:
        self._room = room
        self._pieces: list[bytes | bytearray] = []  # the bytes that are not in the file, in order
        self._held = 0  # and how many they are
        self._file = -1
        self._hash = hashlib.sha256()
        self._digest = ""
        self.size = 0
        self.complete = False

    def append(self, data: bytes) -> None:
        """Keep `data` behind what is here. Raises SpoolFull, OSError."""
        if self.complete:
            raise ValueError("a finished spool does not grow")
        size = len(data)
        if self.size + size > self._room.max_object:
            raise SpoolFull(f"no room to spool: the object exceeds max-object {self._room.max_object}")
        self._room.take(size)
        try:
            self._store(data)
        except BaseException:
            self._room.give_back(size)
            raise
        self._hash.update(data)
        self.size += size

    def _store(self, data: bytes) -> None:
        if self._held + len(data) > self._room.memory:
            self._write_out(data)
            return
        last = self._pieces[-1] if self._pieces else None
        if len(data) >= _SMALL:
            self._pieces.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._pieces.append(bytearray(data))
        self._held += len(data)

    def _write_out(self, data: bytes = b"") -> None:
        """What is held goes to the file, with `data` behind it. An OSError changes nothing."""
        if self._file < 0:
            self._file = _unlinked_file(self._room.directory)
        _write(self._file, [*self._pieces, data], self.size - self._held)
        self._pieces.clear()
        self._held = 0

    def finish(self) -> None:
        """All bytes are here; from now on the spool is a Body."""
        self.complete = True

    @property
    def in_memory(self) -> bool:
        """True while no file is behind it."""
        return self._file < 0

    @property
    def sha256(self) -> str:
        """Lower-case hex digest of what is here."""
        if not self._digest or not self.complete:
            self._digest = self._hash.hexdigest()
        return self._digest

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" at the end of what is here."""
        stop = min(offset + size, self.size)
        filed = self.size - self._held
        if offset >= filed:
            return self._read_held(offset - filed, stop - filed)
        data = os.pread(self._file, min(stop, filed) - offset, offset)
        return data + self._read_held(0, stop - filed) if stop > filed else data

    def _read_held(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        first = self._pieces[0]
        if start == 0 and stop == len(first) and isinstance(first, bytes):
            return first
        found, at = [], 0
        for piece in self._pieces:
            if at >= stop:
                break
            if at + len(piece) > start:
                found.append(memoryview(piece)[max(0, start - at) : stop - at])
            at += len(piece)
        return b"".join(found)

    def descriptor(self) -> int:
        """A new read-only descriptor at offset 0, independent of this one; the caller closes it. Raises OSError."""
        if self._file < 0:
            return SparseBody(self.size, self._placed()).descriptor()
        self._write_out()
        with contextlib.suppress(FileNotFoundError):
            return os.open(f"/proc/self/fd/{self._file}", os.O_RDONLY | os.O_CLOEXEC)
        return self._copy()

    def _placed(self) -> list[tuple[int, bytes | bytearray]]:
        offsets = itertools.accumulate(map(len, self._pieces), initial=0)
        return list(zip(offsets, self._pieces, strict=False))

    def _copy(self) -> int:
        """Where there is no /proc an unlinked file cannot be opened anew: a second one has its own position."""
        copy = _unlinked_file(self._room.directory)
        for offset in range(0, self.size, _COPY_SLICE):
            _write(copy, [self.read(offset, _COPY_SLICE)], offset)
        return copy

    def close(self) -> None:
        """Give everything back. May be called twice."""
        self._room.give_back(self.size)
        self.size = 0
        self.complete = True
        self._pieces.clear()
        self._held = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __repr__(self) -> str:
        place = "memory" if self._file < 0 else "file"
        return f"Spool({self.size} bytes in {place}, {'complete' if self.complete else 'growing'})"


def _unlinked_file(directory: Path) -> int:
    # Not every system or file system knows it (open(2)); a real fault, as a full disk, comes again below.
    with contextlib.suppress(OSError, AttributeError):
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    descriptor, name = tempfile.mkstemp(prefix="sluice-", dir=directory)
    os.unlink(name)
    return descriptor


def _write(descriptor: int, pieces: Sequence[bytes | bytearray], offset: int) -> None:
    rest = [piece for piece in pieces if piece]
    while rest:
        written = os.pwritev(descriptor, rest[:_IOV_MAX], offset)
        offset += written
        rest = _drop(rest, written)


def _drop(pieces: list[bytes | bytearray], size: int) -> list[bytes | bytearray]:
    """What is left of the pieces behind their first `size` bytes."""
    for number, piece in enumerate(pieces):
        if size < len(piece):
            return [piece[size:], *pieces[number + 1 :]]
        size -= len(piece)
    return []
