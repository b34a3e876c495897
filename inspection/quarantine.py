"""The quarantine's writing side: what was blocked, kept with its original bytes.

Rules of this file: `keep` returns only when the entry is on disk and synced, files and directory; disk work is
done in threads of its own, few of them; a full or broken disk is a `QuarantineError`, and nothing half is left.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from inspection.kept_mail import KeptMail
from inspection.record import cut_text, is_id, without_query
from inspection.shelf import MAX_METADATA, Entry, Interrupted, Place, Shelf
from scanners.engine import Body

__all__ = ["Entry", "KeptMail", "Quarantine", "QuarantineError", "QuarantineFull"]

WRITERS = 2  # entries written at once; further ones queue
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class QuarantineError(OSError):
    """The entry could not be kept, or the directory cannot be used; the text names the directory."""


class QuarantineFull(QuarantineError):
    """There is no room: `max_size` under `on_full: refuse`, an object above it, or a full disk."""


class Quarantine:
    """Keeps entries in `directory` for `max_age` seconds, up to `max_size` bytes in all (both files counted).

    Several processes may share a directory; then each counts what lies there, but not what another is just
    writing. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        directory: Path,
        max_age: float,
        max_size: int,
        on_full: Literal["refuse", "drop-oldest"] = "refuse",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shelf = Shelf(directory)
        self._max_age, self._max_size, self._on_full = max_age, max_size, on_full
        self._clock = clock
        self._room = threading.Lock()
        self._reserved = 0  # bytes that writers under way will need
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="quarantine")

    def __repr__(self) -> str:
        return f"<Quarantine {self._shelf.directory}, {self._reserved} bytes being written>"

    def open(self) -> None:
        """Demands a writable directory of mode 0700 and removes what a crash or the age limit left behind.

        Blocks; to be called at start, as the user who will write. Raises `QuarantineError`."""
        with self._mapped():
            self._shelf.prepare()
        self.expire()

    async def keep(self, entry: str, body: Body, metadata: Mapping[str, object]) -> str:
        """Keeps the body under the id `entry` (one of `new_id`) and returns the id, all of it synced to disk.

        `metadata` is plain data; texts are cut, URLs lose query and userinfo, and id, time, size and sha256 are
        added. Raises `QuarantineFull`, `QuarantineError`. The body is not touched after the return, also on
        cancellation, which may therefore take as long as the disk needs for a megabyte and a sync."""
        if not is_id(entry):
            raise QuarantineError(errno.EINVAL, "no id of ours", entry[:40])
        stop = threading.Event()
        work = self._writers.submit(self._keep, entry, body, metadata, stop)
        waiter = asyncio.wrap_future(work)
        try:
            await asyncio.wait([waiter])  # which, unlike `await waiter`, leaves the work alone when cancelled
        except asyncio.CancelledError:
            stop.set()
            await _see_out(work, waiter)
            raise
        waiter.result()
        return entry

    def entries(self) -> list[Entry]:
        """All complete entries, the oldest first. Blocks. Raises `QuarantineError`."""
        with self._mapped():
            return self._shelf.entries()

    def expire(self, size: int | None = None) -> int:
        """Removes what is older than `max_age`, then the oldest until no more than `size` bytes are left; gives
        how many entries. Blocks. Raises `QuarantineError`."""
        with self._mapped(), self._room:
            places = self._shelf.places()
            left = self._drop_expired(places)
            used = sum(place.size for place in left)
            while size is not None and used > size:
                oldest = left.pop(0)
                self._shelf.remove(oldest.id)
                used -= oldest.size
            return len(places) - len(left)

    def close(self) -> None:
        """Waits for the writers under way and ends their threads. Blocks."""
        self._writers.shutdown()

    # --- in a writer's thread

    def _keep(self, entry: str, body: Body, metadata: Mapping[str, object], stop: threading.Event) -> None:
        with self._mapped():
            text = self._describe(entry, body, metadata)
            need = body.size + len(text)
            with self._room:
                self._make_room(need)
                self._reserved += need
            try:
                self._shelf.store(entry, body, text, stop.is_set)
            finally:
                with self._room:
                    self._reserved -= need

    def _describe(self, entry: str, body: Body, metadata: Mapping[str, object]) -> bytes:
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        ours = {"id": entry, "time": now.replace("+00:00", "Z"), "size": body.size, "sha256": body.sha256}
        theirs = {name: _plain(value) for name, value in metadata.items() if name not in ours}
        text = _spell(ours | theirs)
        for long in ("commands", "documents"):  # what is too long to be read back gives way, and the entry says so
            if len(text) > MAX_METADATA and long in theirs:
                theirs[long] = "left out: too long"
                text = _spell(ours | theirs)
        if len(text) > MAX_METADATA:
            raise QuarantineError(errno.EFBIG, f"more than {MAX_METADATA} bytes of metadata", self._name)
        return text

    def _make_room(self, need: int) -> None:
        if need > self._max_size:
            raise QuarantineFull(errno.ENOSPC, "the object is larger than the whole quarantine", self._name)
        places = self._drop_expired(self._shelf.places())
        free = self._max_size - self._reserved - sum(place.size for place in places)
        while free < need and places and self._on_full == "drop-oldest":
            oldest = places.pop(0)
            self._shelf.remove(oldest.id)
            free += oldest.size
        if free < need:
            raise QuarantineFull(errno.ENOSPC, "the quarantine has reached its max-size", self._name)

    def _drop_expired(self, places: list[Place]) -> list[Place]:
        limit = self._clock() - self._max_age
        for place in places:
            if place.kept_at < limit:
                self._shelf.remove(place.id)
        return [place for place in places if place.kept_at >= limit]

    @property
    def _name(self) -> str:
        return str(self._shelf.directory)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (QuarantineError, Interrupted):
            raise
        except OSError as error:
            kind = QuarantineFull if error.errno in _NO_ROOM else QuarantineError
            raise kind(error.errno, error.strerror or str(error), error.filename or self._name) from error
        except ValueError as error:  # a spool that was closed under us
            raise QuarantineError(errno.EIO, str(error), self._name) from error


async def _see_out(work: Future[None], waiter: asyncio.Future[None]) -> None:
    """Returns when the thread no longer touches the body, however often we are cancelled meanwhile."""
    work.cancel()  # it may not have begun
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([waiter])
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else asks


def _spell(metadata: Mapping[str, object]) -> bytes:
    return json.dumps(metadata, indent=1, default=str).encode("ascii") + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, str):
        return cut_text(without_query(value) if _URL.match(value) else value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
