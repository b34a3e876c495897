"""A file on disk as the body of a check.

Rules of this file: what is checked is what was opened, never what stands under the name by then; nothing but a
regular file is opened for good; the whole is never in memory; a file that changed meanwhile says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
import threading
from typing import Self

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_SLICE = 1 << 20

SMALL = 256 * 1024
"""Bytes that are hashed on the event loop: less than a millisecond."""


class FileBody:
    """An open regular file. Fulfils `scanners.engine.Body`, for as long as it does not change: ask `changed` after
    the check, for a verdict on a file that did is worth nothing. Whoever opens it closes it.
    """

    def __init__(self, path: str, *, follow: bool = False) -> None:
        """OSError where it cannot be opened, is no regular file, or (a kernel's file) does not know its size.
        `follow`: whether `path` may be a symbolic link."""
        self._path = path
        self._follow = follow
        self._digest = ""
        self._closed = threading.Event()
        self._number = os.open(path, _OPEN if follow else _OPEN | os.O_NOFOLLOW)
        try:
            state = os.fstat(self._number)
            if not stat.S_ISREG(state.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            self.size = state.st_size
            self._state = _mark(state)
            self._confirm_size()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<FileBody {self._path!r} {self.size} bytes>"

    def _confirm_size(self) -> None:
        """Files in /proc and /sys have bytes where their size says that there are none, or none where it promises
        some: an engine that goes by the size would never see them."""
        last = os.pread(self._number, 1, self.size - 1) if self.size else b"-"
        if not last or os.pread(self._number, 1, self.size):
            raise OSError(errno.EIO, "it does not have the size that it says")

    @property
    def sha256(self) -> str:
        """Lower-case hex digest of the whole. Reads it all when first asked for: for large files `hash` comes first."""
        if not self._digest:
            self._digest = _digest(self._number, self._closed)
        return self._digest

    async def hash(self) -> str:
        """The same, without keeping the event loop; in a thread that ends by itself once the body is closed."""
        if not self._digest and self.size > SMALL:
            self._digest = await asyncio.to_thread(_digest_and_close, self.descriptor(), self._closed)
        return self.sha256

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" at the end of what the file was when it was opened."""
        return os.pread(self._number, max(0, min(size, self.size - offset)), offset)

    def descriptor(self) -> int:
        """A new read-only descriptor at offset 0 with a position of its own; the caller closes it. OSError where
        there is no /proc and another file stands under the name by now."""
        with contextlib.suppress(FileNotFoundError):
            return os.open(f"/proc/self/fd/{self._number}", os.O_RDONLY | os.O_CLOEXEC)
        again = type(self)(self._path, follow=self._follow)
        if again._state != self._state:
            again.close()
            raise OSError(errno.ESTALE, "it changed while it was scanned")
        return again._number

    def changed(self) -> bool:
        """Whether the file, or what stands under its name, is no longer what was opened. A change of the file's owner,
        mode or links counts, too: only its ctime cannot be set back."""
        try:
            named = os.stat(self._path, follow_symlinks=self._follow)
        except OSError:
            return True
        return not _mark(os.fstat(self._number)) == _mark(named) == self._state

    def close(self) -> None:
        """May be called twice."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _mark(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _digest(descriptor: int, stop: threading.Event) -> str:
    digest, offset = hashlib.sha256(), 0
    while not stop.is_set() and (part := os.pread(descriptor, _SLICE, offset)):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()


def _digest_and_close(descriptor: int, stop: threading.Event) -> str:
    try:
        return _digest(descriptor, stop)
    finally:
        os.close(descriptor)
