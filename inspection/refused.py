"""Blocked memory: what was cut and is asked for again is refused at once, before any byte.

Rules of this file: `error` is never remembered, for it says nothing of the object; a memory of 0 seconds is off;
keys are kept as digests, so that an entry's size does not depend on a peer; used from the event loop alone.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policy.verdict import Status

ENTRIES = 10_000
_REMEMBERED = frozenset({Status.FOUND, Status.SKIPPED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The verdict on an object that was cut; `id` is that of the first refusal, where the details are recorded."""

    id: str
    status: Status
    reason: str
    virus: str | None = None
    antivirus: str | None = None
    acl: str | None = None


class RefusedMemory:
    """Verdicts for `seconds` after the cut; the least recently used goes first above `entries`.

    A key names one version of one object: HTTP method, full URL and validators; FTP host, port, user, path, SIZE
    and MDTM. None is a validator that the peer did not give. `clock` is monotonic, in seconds.
    """

    def __init__(self, seconds: float, *, entries: int = ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._limit = entries
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Refused]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<RefusedMemory {len(self)} of {self._limit}, {self._seconds:g} s>"

    def remember(self, key: Sequence[str | None], refused: Refused) -> None:
        """Keeps the verdict; `free` and `error` are not kept. A known key gets the new verdict and a new time."""
        if self._seconds <= 0 or refused.status not in _REMEMBERED:
            return
        digest = _digest(key)
        self._entries[digest] = (self._clock() + self._seconds, refused)
        self._entries.move_to_end(digest)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def recall(self, key: Sequence[str | None]) -> Refused | None:
        """The verdict, while it is remembered. Being asked does not make it last longer."""
        if not self._entries:
            return None
        digest = _digest(key)
        expires, refused = self._entries.get(digest, (0.0, None))
        if refused is None:
            return None
        if self._clock() >= expires:
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return refused

    def forget_all(self) -> None:
        """For a new policy or a new version of an engine, which may judge otherwise."""
        self._entries.clear()


def _digest(key: Sequence[str | None]) -> bytes:
    """No two keys share one: every part goes in with its length, and None is not the empty text."""
    digest = hashlib.sha256()
    for part in key:
        data = b"" if part is None else part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % (-1 if part is None else len(data)) + data)
    return digest.digest()
