"""Bodies that need no spool: a few bytes in memory, and a few bytes in a sea of zeros.

Rules of this file: a body never changes; every descriptor is a fresh read-only open file description with a
position of its own (clamd moves the position of what it is passed, also for whoever shares it); nothing is
left on disk and nothing needs to be closed but the descriptors handed out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from functools import cached_property

_ZEROS = bytes(256 * 1024)


class SparseBody:
    """`size` zero bytes, with each of `pieces` (offset, bytes) laid over them; in memory only the pieces."""

    def __init__(self, size: int, pieces: Sequence[tuple[int, bytes | bytearray]]) -> None:
        if any(offset < 0 or offset + len(piece) > size for offset, piece in pieces):
            raise ValueError("a piece lies outside of the body")
        self.size = size
        self._pieces = tuple(pieces)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.size} bytes>"

    @cached_property
    def sha256(self) -> str:
        """Lower-case hex digest of the whole, computed when asked for."""
        digest = hashlib.sha256()
        offset = 0
        while part := self.read(offset, len(_ZEROS)):
            digest.update(part)
            offset += len(part)
        return digest.hexdigest()

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" at the end."""
        end = min(offset + size, self.size)
        touched = [(at, piece) for at, piece in self._pieces if at < end and at + len(piece) > offset]
        if not touched:
            return _ZEROS[: end - offset] if end - offset <= len(_ZEROS) else bytes(end - offset)
        part = bytearray(end - offset)
        for at, piece in touched:
            first, last = max(at, offset), min(at + len(piece), end)
            part[first - offset : last - offset] = piece[first - at : last - at]
        return bytes(part)

    def descriptor(self) -> int:
        """A new read-only descriptor at offset 0; the caller closes it. OSError where there is no room."""
        return _publish(self.size, self._pieces)


class MemoryBody(SparseBody):
    """Bytes held in memory; for canaries, tests and other small things."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data), ((0, data),))
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" at the end."""
        return self._data[offset : offset + size]


def _publish(size: int, pieces: Sequence[tuple[int, bytes | bytearray]]) -> int:
    if hasattr(os, "memfd_create"):
        # Without /proc (a bare chroot) a memfd cannot be opened anew.
        with contextlib.suppress(FileNotFoundError):
            return _publish_in_memory(size, pieces)
    return _publish_on_disk(size, pieces)


def _publish_in_memory(size: int, pieces: Sequence[tuple[int, bytes | bytearray]]) -> int:
    writable = os.memfd_create("sluice", os.MFD_CLOEXEC)
    try:
        _fill(writable, size, pieces)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def _publish_on_disk(size: int, pieces: Sequence[tuple[int, bytes | bytearray]]) -> int:
    writable, path = tempfile.mkstemp(prefix="sluice-")
    try:
        _fill(writable, size, pieces)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.unlink(path)
        os.close(writable)


def _fill(descriptor: int, size: int, pieces: Sequence[tuple[int, bytes | bytearray]]) -> None:
    os.ftruncate(descriptor, size)
    for offset, piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            offset += written
            rest = rest[written:]
