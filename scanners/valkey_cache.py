"""Verdicts shared between processes through Valkey or Redis.

Rules of this file: it never raises, and nobody waits for it longer than LATEST: any trouble is a miss, and after
trouble it is left alone for a while; a value is believed only if it names the very key it was asked for (a reply
that got lost must not become another object's verdict) and the scope's current token, which is replaced by a new
random one whenever the scope is forgotten. Who can write to the store can have anything delivered: it must be as
trusted as we are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence

from policy.verdict import Status
from scanners.breaker import Breaker
from scanners.engine import Answer
from scanners.valkey_client import CONNECT_WITHIN, Client, describe

_log = logging.getLogger("avsluice.scanners")

LATEST = 0.05
"""Seconds that a check waits for the store at the most."""

_LOOKUPS = 64
_PENDING = 1000
_VALUE_LIMIT = 4096
_TOKEN_SECONDS = 30 * 86400
_PREFIX = "sluice:1:"


type Found = tuple[bytes | None, bytes | None] | Exception
"""The scope's token and the entry; or what went wrong."""


class ValkeyStore:
    """A `scanners.cache.SharedStore`. Writes wait in a bounded queue for one task of its own."""

    def __init__(self, client: Client, latest: float = LATEST) -> None:
        self._client = client
        self._latest = latest
        self._breaker = Breaker()
        self._lookups: set[asyncio.Task[Found]] = set()
        self._dropped: set[str] = set()
        self._writes: list[Callable[[], Awaitable[object]]] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ValkeyStore {self._breaker}, {len(self._writes)} to write, {len(self._dropped)} to drop>"

    async def recall(self, scope: str, key: str) -> tuple[Answer | None, str]:
        """What is known, and a ticket with which it may be completed; "" where it may not."""
        if scope in self._dropped or len(self._lookups) >= _LOOKUPS or self._left_alone():
            return None, ""
        found = await self._look_up([_token_name(scope), _entry_name(scope, key)])
        if isinstance(found, Exception):
            self._fail(found)
            return None, ""
        token, value = found
        self._breaker.succeed()
        if token is None:
            self.drop(scope)
            return None, ""
        ticket = token[:64].decode("ascii", "replace")
        return _parse(value, ticket, key), "" if scope in self._dropped else ticket

    def remember(self, scope: str, key: str, ticket: str, answer: Answer, seconds: float) -> None:
        """Keeps an answer, some time later; not at all where too many wait to be kept."""
        if len(self._writes) < _PENDING and not self._left_alone():
            value, ms = _compose(answer, ticket, key), max(1, int(1000 * seconds))
            self._writes.append(lambda: self._client.set(_entry_name(scope, key), value, px=ms))
            self._start_writing()

    def drop(self, scope: str) -> None:
        """Forgets a scope: for us at once, for everybody as soon as the store can be reached."""
        self._dropped.add(scope)
        self._start_writing()

    async def close(self) -> None:
        """What was not yet written is lost, but for a last attempt to tell others what to forget."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._latest):
                await self._write_drops()
        if tasks := [*self._lookups, *([self._writer] if self._writer is not None else [])]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_WITHIN):
                await self._client.aclose()

    async def _look_up(self, names: Sequence[str]) -> Found:
        # The question outlives our patience: to connect, by TLS and with a login, may take longer than a check waits,
        # and broken off each time it would never be done. What it made is there for the next question.
        asking = asyncio.get_running_loop().create_task(self._ask(names))
        self._lookups.add(asking)  # held here until it is done; close() ends and awaits it
        asking.add_done_callback(self._lookups.discard)
        done, _ = await asyncio.wait([asking], timeout=self._latest)
        return asking.result() if done and not asking.cancelled() else TimeoutError()

    async def _ask(self, names: Sequence[str]) -> Found:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                token, value = await self._client.mget(names)
        except Exception as why:  # whatever the client's library may raise
            return why
        return token, value

    def _left_alone(self) -> bool:
        # One failure is enough here: each costs a check LATEST, and the store is not needed.
        return self._breaker.failures > 0 and asyncio.get_running_loop().time() < self._breaker.retry_at

    def _fail(self, why: Exception) -> None:
        if not self._breaker.failures:
            _log.warning("the cache at Valkey is left alone for a while: %s", describe(why))
        if not self._left_alone():
            self._breaker.fail(asyncio.get_running_loop().time())

    def _start_writing(self) -> None:
        if self._writer is None:
            # Held here until close() ends and awaits it.
            self._writer = asyncio.get_running_loop().create_task(self._write())
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await self._write_drops()
                    await self._write_entries()
            except Exception as why:
                self._writes.clear()
                self._fail(why)
                now = asyncio.get_running_loop().time()
                await asyncio.sleep(max(self._breaker.retry_at - now, 0.1))
                self._wake.set()

    async def _write_drops(self) -> None:
        for scope in list(self._dropped):
            await self._client.set(_token_name(scope), secrets.token_hex(8), ex=_TOKEN_SECONDS)
            self._dropped.discard(scope)

    async def _write_entries(self) -> None:
        while self._writes:
            await self._writes.pop(0)()


def _token_name(scope: str) -> str:
    return f"{_PREFIX}{scope}:token"


def _entry_name(scope: str, key: str) -> str:
    return f"{_PREFIX}{scope}:{key}"


def _compose(answer: Answer, ticket: str, key: str) -> str:
    return "\0".join((ticket, key, answer.status, answer.virus or "", answer.detail))


def _parse(value: bytes | None, ticket: str, key: str) -> Answer | None:
    """None for everything but what `_compose` makes of this ticket and key."""
    if value is None or len(value) > _VALUE_LIMIT:
        return None
    fields = value.decode(errors="replace").split("\0")
    if len(fields) != 5 or fields[:2] != [ticket, key]:
        return None
    _, _, status, virus, detail = fields
    if status == Status.FREE and not virus and not detail:
        return Answer(Status.FREE)
    if status == Status.FOUND and virus:
        return Answer(Status.FOUND, virus=virus, detail=detail)
    return None
