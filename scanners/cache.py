"""Verdicts remembered by content.

Rules of this file: only `free` and `found` are remembered, by what was checked (SHA-256 and length), by whom (the
section and what in it bears on a verdict) and with what (the edition: protocol, version and database, read before the
check); a failed canary forgets all of a section; whoever asks has looked at the engine's state first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from policy.verdict import Status
from scanners.engine import Answer, Body
from scanners.flights import Flights

_FREE = Answer(Status.FREE)


class SharedStore(Protocol):
    """Verdicts shared between processes. Never raises and never takes long: any trouble is a miss."""

    async def recall(self, scope: str, key: str) -> tuple[Answer | None, str]:
        """What is known, and a ticket with which it may be completed; "" where it may not."""

    def remember(self, scope: str, key: str, ticket: str, answer: Answer, seconds: float) -> None:
        """Keeps an answer, some time later; void if the scope was dropped since the ticket was given."""

    def drop(self, scope: str) -> None:
        """Forgets a scope for everybody, some time later; for us at once."""

    async def close(self) -> None:
        """Lets go of connections; what was not yet written is lost."""


class Key(NamedTuple):
    """What a verdict belongs to. `epoch` counts the times that a section was forgotten."""

    scope: str
    edition: str
    epoch: int
    sha256: str
    size: int


class VerdictCache:
    """What one opened set of engines remembers. TTLs in seconds (0: not remembered), `entries` at the most, the one
    used least recently is forgotten first."""

    def __init__(self, *, free: float, found: float, entries: int, shared: SharedStore | None = None) -> None:
        self._seconds = {Status.FREE: free, Status.FOUND: found}
        self._most = entries
        self._entries: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()
        self._shared = shared
        self._users = 0

    def __repr__(self) -> str:
        return f"<VerdictCache {len(self._entries)} of {self._most} entries>"

    def __len__(self) -> int:
        return len(self._entries)

    def section(self, scope: str) -> SectionCache:
        """The part of one antivirus section; `scope` names it with all that bears on a verdict. The last one that is
        closed closes the whole."""
        self._users += 1
        return SectionCache(self, scope)

    @property
    def is_shared(self) -> bool:
        """Whether there is more than our own memory."""
        return self._shared is not None

    def keeps(self, status: Status) -> bool:
        """Whether an answer of that status is remembered."""
        return self._seconds.get(status, 0) > 0

    def recall(self, key: Key) -> Answer | None:
        """What is remembered here."""
        if (entry := self._entries.get(key)) is None:
            return None
        expires, answer = entry
        if asyncio.get_running_loop().time() >= expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return answer

    async def recall_shared(self, key: Key) -> tuple[Answer | None, str]:
        """What others remember. Their TTL runs already, so it is not copied."""
        if self._shared is None:
            return None, ""
        return await self._shared.recall(key.scope, _shared_key(key))

    def remember(self, key: Key, answer: Answer, ticket: str) -> None:
        """Keeps a `free` or a `found`, and nothing else."""
        seconds = self._seconds.get(answer.status, 0)
        if seconds <= 0:
            return
        kept = _FREE if answer.status is Status.FREE else answer
        self._entries[key] = asyncio.get_running_loop().time() + seconds, kept
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
        if self._shared is not None and ticket:
            self._shared.remember(key.scope, _shared_key(key), ticket, kept, seconds)

    def drop(self, scope: str) -> None:
        """Also what others remember. What is here falls out by itself: its epoch is over."""
        if self._shared is not None:
            self._shared.drop(scope)

    async def close(self) -> None:
        """One section needs it no more."""
        self._users -= 1
        if self._users <= 0:
            self._entries.clear()
            if self._shared is not None:
                await self._shared.close()


class SectionCache:
    """One section's memory, and its checks under way. Made by `VerdictCache.section`."""

    def __init__(self, cache: VerdictCache, scope: str) -> None:
        self._cache = cache
        self._scope = scope
        self._epoch = 0
        self._flights: Flights[Key, Answer] = Flights()
        self._closed = False

    def key(self, body: Body, edition: str) -> Key | None:
        """What a verdict made now is remembered by; None without an edition. Costs the body's hash."""
        return Key(self._scope, edition, self._epoch, body.sha256, body.size) if edition else None

    def recall(self, key: Key) -> Answer | None:
        """What is remembered in this process."""
        return self._cache.recall(key)

    async def join(self, key: Key, patience: float) -> Answer | None:
        """The answer of the same check under way, waited for at most `patience` seconds; None where there is none, or
        it came to nothing that others may use."""
        return await self._flights.join(key, patience) if self._flights else None

    async def lead(self, key: Key, ask: Callable[[], Asking]) -> tuple[Answer, bool]:
        """The answer of `ask`, or what others remember, given to all who join meanwhile; and whether it was remembered.

        `ask` returns the answer and the edition that it was made with; where that is not the key's, the answer is not
        remembered. Cancelling this sends those who joined to do their own."""
        with self._flights.lead(key) as flight:
            answer, ticket = await self._cache.recall_shared(key) if self._cache.is_shared else (None, "")
            if answer is not None and self._cache.keeps(answer.status):
                flight.land(answer)
                return answer, True
            answer, edition = await ask()
            if edition == key.edition and key.epoch == self._epoch and self._cache.keeps(answer.status):
                self._cache.remember(key, answer, ticket)
                flight.land(answer)
            return answer, False

    def drop(self) -> None:
        """Forgets all of this section: its engine was seen to be blind, or is gone."""
        self._epoch += 1
        self._cache.drop(self._scope)

    async def close(self) -> None:
        """May be called twice."""
        if not self._closed:
            self._closed = True
            await self._cache.close()


type Asking = Awaitable[tuple[Answer, str]]


def _shared_key(key: Key) -> str:
    edition = hashlib.sha256(key.edition.encode()).hexdigest()[:32]
    return f"{edition}:{key.sha256}:{key.size}"
