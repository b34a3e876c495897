"""Verdicts shared between processes through Valkey or Redis; needs the extra `valkey`.

Rules of this file: it never raises, and nobody waits for it longer than LATEST: any trouble is a miss, and after
trouble it is left alone for a while; a value is believed only if it names the very key it was asked for (a reply
that got lost must not become another object's verdict) and the scope's current token, which is replaced by a new
random one whenever the scope is forgotten. Who can write to the store can have anything delivered: it must be as
trusted as we are.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from policy.address import Address
from policy.verdict import Status
from scanners.breaker import Breaker
from scanners.engine import Answer

_log = logging.getLogger("avsluice.scanners")

LATEST = 0.05
"""Seconds that a check waits for the store at the most."""

_CONNECT_WITHIN = 1.0
_LOOKUPS = 64
_PENDING = 1000
_VALUE_LIMIT = 4096
_TOKEN_SECONDS = 30 * 86400
_PREFIX = "sluice:1:"


class Client(Protocol):
    """What is used of `valkey.asyncio.Valkey`."""

    async def mget(self, keys: Sequence[str]) -> Sequence[bytes | None]: ...

    async def set(self, name: str, value: str, *, px: int | None = None, ex: int | None = None) -> object: ...

    async def aclose(self) -> None: ...


def connect(address: Address) -> Client:
    """A client that connects when it is first used. ValueError where the extra is not installed."""
    try:
        module = importlib.import_module("valkey.asyncio")
    except ImportError as why:
        raise ValueError("cache.valkey needs the extra: install avsluice[valkey]") from why
    bounds: dict[str, Any] = {"socket_timeout": _CONNECT_WITHIN, "socket_connect_timeout": _CONNECT_WITHIN}
    where: dict[str, Any] = {"host": address.host, "port": address.port}
    if address.unix is not None:
        where = {"unix_socket_path": address.unix}
    client: Client = module.Valkey(**where, **bounds)
    return client


class ValkeyStore:
    """A `scanners.cache.SharedStore`. Writes wait in a bounded queue for one task of its own."""

    def __init__(self, client: Client, latest: float = LATEST) -> None:
        self._client = client
        self._latest = latest
        self._breaker = Breaker()
        self._lookups = 0
        self._dropped: set[str] = set()
        self._writes: list[Callable[[], Awaitable[object]]] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ValkeyStore {self._breaker}, {len(self._writes)} to write, {len(self._dropped)} to drop>"

    async def recall(self, scope: str, key: str) -> tuple[Answer | None, str]:
        """What is known, and a ticket with which it may be completed; "" where it may not."""
        if scope in self._dropped or self._lookups >= _LOOKUPS or self._left_alone():
            return None, ""
        names = [_token_name(scope), _entry_name(scope, key)]
        self._lookups += 1
        try:
            async with asyncio.timeout(self._latest):
                token, value = await self._client.mget(names)
        except Exception as why:  # whatever the client's library may raise
            self._fail(why)
            return None, ""
        finally:
            self._lookups -= 1
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
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CONNECT_WITHIN):
                await self._client.aclose()

    def _left_alone(self) -> bool:
        # One failure is enough here: each costs a check LATEST, and the store is not needed.
        return self._breaker.failures > 0 and asyncio.get_running_loop().time() < self._breaker.retry_at

    def _fail(self, why: Exception) -> None:
        if not self._breaker.failures:
            _log.warning("the cache at Valkey is left alone for a while: %s", repr(why)[:200])
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
                async with asyncio.timeout(_CONNECT_WITHIN):
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
