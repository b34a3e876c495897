"""The directory in which objects are laid down for an engine that is given a path (`comm-dir`).

Rules of this file: the directory is never made by us; a file of ours has a name nobody can guess, is new, is
locked for as long as we use it, and is removed whatever happens; the engine is asked only about a file that stands
under its name as we wrote it, and believed only if it still does afterwards (clamd says OK of a symbolic link); the
event loop copies nothing large.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from policy.verdict import Status
from scanners.engine import Answer, Body

_log = logging.getLogger("avsluice.scanners")

SMALL = 64 * 1024
"""Bytes that are written on the event loop; more are copied by a thread."""

_THREADS = 2
_CHUNK = 1024 * 1024
_PREFIX = "sluice-"
_NAME = re.compile(_PREFIX + r"[0-9a-f]{32}")
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STARTED = time.time()


class CommDir:
    """One `comm-dir`, as one engine uses it. `path_map`: our prefixes and, for each, the engine's.

    ValueError where the directory is no absolute path, or lies below none of our prefixes.
    """

    def __init__(self, directory: Path, path_map: Mapping[str, str] | None = None) -> None:
        text = str(directory)
        if not directory.is_absolute() or "\0" in text:
            raise ValueError(f"comm-dir {text!r} is no absolute path")
        self._directory = text
        self._theirs = _map_path(text, path_map) if path_map is not None else text
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sluice-comm-dir")
        self._cleared = False

    def __str__(self) -> str:
        return self._directory

    async def ask(self, body: Body, scan: Callable[[bytes], Awaitable[Answer]]) -> Answer:
        """What `scan` answers about the body's path, in the engine's words. OSError as of `lay_down`, and where `free`
        was said of a file that does not stand there any more as we wrote it."""
        async with self.lay_down(body) as file:
            answer = await scan(file.path)
            if answer.status is Status.FREE:
                file.check()
            return answer

    @contextlib.asynccontextmanager
    async def lay_down(self, body: Body) -> AsyncIterator[LaidFile]:
        """The body as a file, for the time of the block. OSError where there is no room, or no directory."""
        await self._clear_once()
        with _Directory(self._directory) as directory:
            file = LaidFile(directory, self._directory, self._theirs)
            try:
                await self._fill(file, body)
                file.publish(body.size)
                yield file
            finally:
                file.remove()
                await self._close(file.descriptor, large=body.size > SMALL)

    async def close(self) -> None:
        """Takes no more; copies under way are given up by those who wait for them."""
        self._threads.shutdown(wait=False)

    async def _clear_once(self) -> None:
        if not self._cleared:
            self._cleared = True
            try:
                await asyncio.wrap_future(self._threads.submit(clear_stale, self._directory))
            except BaseException:
                self._cleared = False
                raise

    async def _fill(self, file: LaidFile, body: Body) -> None:
        if body.size <= SMALL:
            _write(file.descriptor, body.read(0, body.size), 0)
            return
        copy = _Copy(body.descriptor(), os.dup(file.descriptor), body.size)
        try:
            under_way = self._threads.submit(copy.run)
        except RuntimeError:  # closed meanwhile
            copy.close()
            raise
        # Descriptors of its own: whoever stops waiting may close theirs. Also where no thread ever got to it.
        under_way.add_done_callback(copy.close)
        try:
            await asyncio.wrap_future(under_way)
        finally:
            copy.stopped = True

    async def _close(self, descriptor: int, *, large: bool) -> None:
        """The last close gives the blocks of a large file back, which takes its time: a thread's, and that of whoever
        asked, that there is room for the next. Who was cancelled does not wait."""
        if not large:
            os.close(descriptor)
            return
        try:
            closing = self._threads.submit(os.close, descriptor)
        except RuntimeError:  # closed meanwhile
            os.close(descriptor)
            return
        asking = asyncio.current_task()
        if asking is not None and not asking.cancelling():
            # Shielded: what nobody waits for any more is closed all the same.
            await asyncio.shield(asyncio.wrap_future(closing))


class LaidFile:
    """A new file in a comm-dir: `path` is what the engine calls it."""

    def __init__(self, directory: _Directory, ours: str, theirs: str) -> None:
        self._name = _PREFIX + secrets.token_hex(16)
        self._directory = directory
        self._ours = os.path.join(ours, self._name)
        self.path = os.fsencode(os.path.join(theirs, self._name))
        self.descriptor = os.open(self._name, _NEW, 0o600, dir_fd=directory.descriptor)
        self._written: tuple[int, ...] = ()
        with contextlib.suppress(OSError):  # a file system without locks: nothing is cleared there, either
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def publish(self, size: int) -> None:
        """Let the engine read what is written. OSError where it is not `size` bytes, or not at its place."""
        os.fchmod(self.descriptor, self._directory.file_mode)
        written = os.fstat(self.descriptor)
        if written.st_size != size:
            raise OSError(errno.EIO, f"the object ended after {written.st_size} of {size} bytes")
        self._written = _state(written)
        self.check()

    def check(self) -> None:
        """OSError unless under the name stands the very file that was published, and unchanged."""
        if _state(os.lstat(self._ours)) != self._written:
            raise OSError(errno.ESTALE, f"somebody changed {self._ours} under the engine's eyes")

    def remove(self) -> None:
        """Never raises: what cannot be removed is told in the log, and cleared by a later start."""
        try:
            os.unlink(self._name, dir_fd=self._directory.descriptor)
        except FileNotFoundError:
            pass
        except OSError as why:
            _log.warning("%s cannot be removed: %s", self._ours, why.strerror)


class _Directory:
    """An open directory, that a new one under the same name is not taken for it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self.descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.descriptor)

    @property
    def file_mode(self) -> int:
        """In a set-group-ID directory the file has its group, and the engine is in it: nobody else need read."""
        return 0o640 if os.fstat(self.descriptor).st_mode & stat.S_ISGID else 0o644


class _Copy:
    """From one descriptor to another, holes left out; owns both."""

    def __init__(self, source: int, target: int, size: int) -> None:
        self._source = source
        self._target = target
        self._size = size
        self.stopped = False

    def run(self) -> None:
        """Returns early once `stopped`. OSError where the disk is full, or the source too short."""
        if os.fstat(self._source).st_size != self._size:
            raise OSError(errno.EIO, f"the object is not the {self._size} bytes it was")
        os.ftruncate(self._target, self._size)
        offset = self._next(0, os.SEEK_DATA)
        while offset < self._size:
            end = self._next(offset, os.SEEK_HOLE)
            while offset < end:
                if self.stopped:
                    return
                part = os.pread(self._source, min(_CHUNK, end - offset), offset)
                if not part:
                    raise OSError(errno.EIO, f"the object ended after {offset} of {self._size} bytes")
                offset = _write(self._target, part, offset)
            offset = self._next(offset, os.SEEK_DATA)

    def close(self, _: Future[None] | None = None) -> None:
        """Gives the descriptors back."""
        os.close(self._source)
        os.close(self._target)

    def _next(self, offset: int, what: int) -> int:
        """Where data, or a hole, begins; the end where there is no more. Without such news all is data."""
        try:
            return min(os.lseek(self._source, offset, what), self._size)
        except OSError as why:
            if why.errno == errno.ENXIO or what == os.SEEK_HOLE:
                return self._size
            return offset


def clear_stale(directory: str) -> None:
    """Removes what a process of ours left behind when it was killed; OSError where nobody can look.

    Ours are regular files by our name and owner, older than this process and locked by nobody."""
    with _Directory(directory) as open_directory:
        mode = os.fstat(open_directory.descriptor).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            _log.warning("comm-dir %s: anybody may change our files there; take the others' right to write", directory)
        for name in os.listdir(open_directory.descriptor):
            if _NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _clear(name, open_directory.descriptor)


def _clear(name: str, directory: int) -> None:
    descriptor = os.open(name, _LOOK, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if ours and found.st_ctime < _STARTED:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=directory)
            _log.info("%s was left behind by an earlier process, and is removed", name)
    finally:
        os.close(descriptor)


def _map_path(directory: str, path_map: Mapping[str, str]) -> str:
    """The directory as the engine calls it: the longest of our prefixes counts, whole names only."""
    for ours in sorted(path_map, key=len, reverse=True):
        prefix = ours.rstrip("/")
        if directory == prefix or directory.startswith(prefix + "/"):
            return path_map[ours].rstrip("/") + directory[len(prefix) :] or "/"
    raise ValueError(f"comm-dir {directory} lies below no prefix of path-map ({', '.join(path_map)})")


def _state(found: os.stat_result) -> tuple[int, ...]:
    """What differs once a file was written to, moved away, linked, or another one stands in its place."""
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_size, *times)


def _write(descriptor: int, data: bytes, offset: int) -> int:
    """Returns the offset behind."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]
    return offset
