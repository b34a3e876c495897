"""The quarantine's directory: entries laid down whole or not at all.

Rules of this file: everything here blocks and belongs in a thread; every name is made from an id of ours; the
metadata file makes an entry, so it comes last and goes first; writers hold a shared lock on the directory, and
only who gets the exclusive one clears away what a crash left.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from inspection.record import is_id, visible
from scanners.engine import Body

logger = logging.getLogger(__name__)

CHUNK = 1024 * 1024
MAX_METADATA = 1024 * 1024  # bytes of one metadata file that are read back
_NAME = re.compile(r"([0-9a-z]{16,20})\.(data|json)(\.tmp)?")
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # what is no file must not hold us up
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Interrupted(Exception):
    """The caller no longer wants the entry; nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept object. `size` in bytes, `metadata` all that is known of it (id, time, size, sha256 and more)."""

    id: str
    size: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What an entry takes up: bytes on disk of both files, and when it was finished (seconds since 1970)."""

    id: str
    size: int
    kept_at: float


class Shelf:
    """One directory of entries; several processes may share it. Every method may raise OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Demands a directory of ours that nobody else can read, and clears away half entries."""
        with self._open() as descriptor:
            self._close_to_others(descriptor)
            if not os.access(self.directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
                raise PermissionError(13, "the quarantine directory is not writable", str(self.directory))
            self._clear_halves(descriptor)

    def store(self, entry: str, body: Body, metadata: bytes, interrupted: Callable[[], bool]) -> None:
        """Lays an entry down and syncs it, files and directory, before returning.

        Raises `Interrupted` where `interrupted` says so before it is finished; on that and on OSError nothing
        is left behind."""
        with self._open() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            written: list[str] = []
            try:
                self._refuse_twice(descriptor, entry)
                _write(descriptor, f"{entry}.data.tmp", _chunks(body, interrupted), written)
                _write(descriptor, f"{entry}.json.tmp", iter([metadata]), written)
                for kind in ("data", "json"):
                    name = f"{entry}.{kind}"
                    os.rename(f"{name}.tmp", name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
                    written.append(name)
                os.fsync(descriptor)
            except BaseException:
                _remove(descriptor, reversed(written))
                raise

    def places(self) -> list[Place]:
        """All finished entries, the oldest first (ids sort by time)."""
        with self._open() as descriptor:
            names = set(os.listdir(descriptor))
            found = (self._place(descriptor, entry) for entry in _finished(names))
            return sorted((place for place in found if place), key=lambda place: place.id)

    def entries(self) -> list[Entry]:
        """All finished entries with their metadata, the oldest first; an unreadable one is logged, not given."""
        with self._open() as descriptor:
            names = set(os.listdir(descriptor))
            found = (self._read(descriptor, entry) for entry in sorted(_finished(names)))
            return [entry for entry in found if entry]

    def read(self, entry: str) -> Entry | None:
        """One finished entry; None where there is none of that id, or it cannot be read (which is logged)."""
        with self._open() as descriptor:
            return self._read(descriptor, entry) if is_id(entry) else None

    def open_data(self, entry: str) -> BinaryIO:
        """The original bytes of an entry, which stay readable when it is removed meanwhile; the caller closes.

        FileNotFoundError where there is no such entry, also for what is no id of ours."""
        if not is_id(entry):
            raise FileNotFoundError(2, "no id of ours", visible(entry, 40))
        with self._open() as descriptor:
            os.stat(f"{entry}.json", dir_fd=descriptor, follow_symlinks=False)  # without it, it is a half
            return open(os.open(f"{entry}.data", _OLD, dir_fd=descriptor), "rb")

    def remove(self, entry: str) -> bool:
        """Removes an entry; False where it was gone already."""
        with self._open() as descriptor:
            there = _remove(descriptor, (f"{entry}.json", f"{entry}.data"))
        return there > 0

    @contextmanager
    def _open(self) -> Iterator[int]:
        # Opened each time: flock belongs to the open description, and two threads need two of them.
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _close_to_others(self, descriptor: int) -> None:
        """A directory that is ours alone but for its mode is made 0700 (a checkout cannot keep that); one that
        holds other things, such as a mistyped /etc, is refused instead."""
        mode = os.fstat(descriptor)
        if not stat.S_IMODE(mode.st_mode) & 0o077:
            return
        foreign = any(not (n.startswith(".") or _NAME.fullmatch(n)) for n in os.listdir(descriptor))
        if foreign or mode.st_mode & stat.S_ISVTX or mode.st_uid != os.geteuid():
            raise PermissionError(13, "the quarantine directory must be of mode 0700", str(self.directory))
        os.fchmod(descriptor, 0o700)
        logger.warning("quarantine %s: made 0700", self.directory)

    def _clear_halves(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process is writing: what looks like a half may be its entry
        names = set(os.listdir(descriptor))
        finished = set(_finished(names))
        for name in names:
            match = _NAME.fullmatch(name)
            if match and (match[3] or match[1] not in finished):
                logger.warning("quarantine %s: %s was left by a crash, removed", self.directory, name)
                _remove(descriptor, [name])

    def _refuse_twice(self, descriptor: int, entry: str) -> None:
        for name in (f"{entry}.data", f"{entry}.json"):
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                raise FileExistsError(17, "the entry exists already", name)

    def _place(self, descriptor: int, entry: str) -> Place | None:
        try:
            data = os.stat(f"{entry}.data", dir_fd=descriptor, follow_symlinks=False)
            text = os.stat(f"{entry}.json", dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None  # removed by another process
        if not (stat.S_ISREG(data.st_mode) and stat.S_ISREG(text.st_mode)):
            return None  # nobody's entry: what cannot be removed like one would keep all others from expiring
        return Place(entry, data.st_size + text.st_size, text.st_mtime)

    def _read(self, descriptor: int, entry: str) -> Entry | None:
        try:
            file = os.open(f"{entry}.json", _OLD, dir_fd=descriptor)
            with open(file, "rb") as stream:
                metadata = json.loads(stream.read(MAX_METADATA))
            size = os.stat(f"{entry}.data", dir_fd=descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("quarantine %s: %s.json: %s", self.directory, entry, error)
            return None
        return Entry(entry, size, metadata) if isinstance(metadata, dict) else None


def _finished(names: set[str]) -> Iterator[str]:
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match[2] == "json" and not match[3] and f"{match[1]}.data" in names:
            yield match[1]


def _chunks(body: Body, interrupted: Callable[[], bool]) -> Iterator[bytes]:
    offset = 0
    while offset < body.size:
        if interrupted():
            raise Interrupted
        chunk = body.read(offset, CHUNK)
        if not chunk:
            raise OSError(5, "the spool ended early")
        yield chunk
        offset += len(chunk)
    if interrupted():
        raise Interrupted


def _write(descriptor: int, name: str, chunks: Iterator[bytes], written: list[str]) -> None:
    file = os.open(name, _NEW, 0o600, dir_fd=descriptor)
    written.append(name)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def _remove(descriptor: int, names: Iterator[str] | tuple[str, ...] | list[str]) -> int:
    removed = 0
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=descriptor)
            removed += 1
    return removed
