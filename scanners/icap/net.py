"""The engine `icap`: an ICAP server's RESPMOD, with and without TLS.

Rules of this file: the service is asked what it can do before it is asked anything else; an object is shown in part
first, wherever the service takes previews, for only a server that asks for the rest has shown that it wants to scan;
one retry, and only where a kept connection turned out to be dead.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from enum import StrEnum

from policy.verdict import Coverage, Status
from scanners.connection import Address
from scanners.engine import Answer, Body
from scanners.icap.connections import Connections
from scanners.icap.headers import BadReply
from scanners.icap.options import Service, read_service
from scanners.icap.requests import END, END_OF_WHOLE, make_chunk, make_options, make_respmod
from scanners.icap.talks import CheckTalk, OptionsTalk, Talk
from scanners.icap.wire import Connection

CHUNK = 256 * 1024
"""Bytes that are sent at a time."""


class Preview(StrEnum):
    """How much is shown before the server has asked for the rest."""

    PART = "part"
    """As much as the server offers, but never the whole: c-icap says 204 to types that it does not scan, and only by
    asking, or not asking, for the last bytes does it show the difference."""

    WHOLE = "whole"
    """As much as the server offers, small objects in whole (`ieof`). For comparison: see PART."""

    NONE = "none"
    """The whole object at once. For comparison: see PART."""


class Icap:
    """The service at `uri` (a path) of one ICAP server.

    `tls`: None for plain ICAP. `pure_body`: whether a 200 that gives the object back unchanged is `free`."""

    protocol = "icap"
    coverage = Coverage.FULL
    limit_setting = "the ICAP server's largest object (c-icap: virus_scan.MaxObjectSize, or the service avscan)"

    def __init__(
        self,
        address: Address,
        uri: str,
        *,
        tls: ssl.SSLContext | None = None,
        pure_body: bool = True,
        preview: Preview = Preview.PART,
    ) -> None:
        self._where = str(address)
        self._authority = str(address) if address.unix is None else "localhost"
        self._uri = uri
        self._tls = tls is not None
        self._pure_body = pure_body
        self._preview = preview
        self._connections = Connections(address, tls)
        self._service: Service | None = None
        self._expires = 0.0
        self._asking = asyncio.Lock()

    def __str__(self) -> str:
        return f"{'icaps' if self._tls else 'icap'}://{self._where}{self._uri}"

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation."""
        try:
            answer = await self._check(body, await self._learn())
        except BadReply as why:
            answer = Answer(why.status, detail=f"{self}: {why}")
        except OSError as why:
            answer = Answer(Status.ERROR, detail=f"{self}: {why.strerror or why}")
        if answer.status in (Status.ERROR, Status.UNKNOWN):
            self._service = None  # it may have become another one
        return answer

    async def version(self) -> str:
        """Service and ISTag, asked for anew; "" where they cannot be had."""
        self._service = None
        try:
            return (await self._learn()).version
        except (BadReply, OSError):
            return ""

    async def close(self) -> None:
        """Closes the connections that are kept."""
        self._connections.close()

    async def _learn(self) -> Service:
        """What the service can do; asked for where that is not known, or has expired, by one at a time."""
        clock = asyncio.get_running_loop().time
        service = self._service
        if service is not None and clock() < self._expires:
            return service
        async with self._asking:
            service = self._service
            if service is None or clock() >= self._expires:
                service = await self._ask_options()
                self._service, self._expires = service, clock() + service.ttl
                self._connections.limit = service.connections
            return service

    async def _ask_options(self) -> Service:
        async def say(connection: Connection, talk: OptionsTalk) -> None:
            await connection.send(make_options(self._authority, self._uri))
            await connection.wait(lambda: talk.over)

        talk = await self._converse(OptionsTalk, say)
        if talk.head is None:
            raise talk.failure or BadReply(Status.ERROR, "OPTIONS: no reply")
        return read_service(talk.head)

    async def _check(self, body: Body, service: Service) -> Answer:
        if service.ignores:
            return Answer(Status.SKIPPED, detail="the server does not want such objects (Transfer-Ignore)")

        async def say(connection: Connection, talk: CheckTalk) -> None:
            await self._send_object(connection, talk, body, service)
            await connection.wait(lambda: talk.over)

        talk = await self._converse(lambda: CheckTalk(body, pure_body=self._pure_body), say)
        if talk.istag is not None and talk.istag != service.istag:
            self._service = None  # RFC 3507, 4.7: it is not what it was when it was asked
        return talk.answer or Answer(Status.ERROR, detail="no reply")

    async def _converse[T: Talk](self, make: Callable[[], T], say: Callable[[Connection, T], Awaitable[None]]) -> T:
        """A talk that is over. Servers end kept connections without a word (c-icap: after 101 requests), which shows
        in that no byte of a reply comes: then it is had once more, on a new one."""
        for fresh in (False, True):
            talk = make()
            connection = await self._connections.take(fresh=fresh)
            kept = connection.talks > 0
            try:
                connection.begin(talk)
                await say(connection, talk)
            finally:
                self._connections.give(connection)
            if talk.heard or not kept:
                break
        return talk

    async def _send_object(self, connection: Connection, talk: CheckTalk, body: Body, service: Service) -> None:
        limit = self._limit_preview(body.size, service)
        shown = b"" if limit is None else body.read(0, limit)
        head = make_respmod(
            self._authority,
            self._uri,
            size=body.size,
            preview=None if limit is None else len(shown),
            allow_204=service.allow_204,
        )
        if limit is not None:
            talk.previewed = len(shown) < body.size
            talk.handed = not talk.previewed
            await connection.send(head + make_chunk(shown, END if talk.previewed else END_OF_WHOLE))
            await connection.wait(lambda: talk.proceed or talk.handed or talk.over)
            head = b""
        if not talk.handed:
            await _send_rest(connection, talk, body, offset=len(shown), pending=head)

    def _limit_preview(self, size: int, service: Service) -> int | None:
        """Bytes to show first; None: no preview. Of an empty object there is nothing to show."""
        if service.preview is None or self._preview is Preview.NONE or not size:
            return None
        return min(service.preview, size - 1 if self._preview is Preview.PART else size)


async def _send_rest(connection: Connection, talk: CheckTalk, body: Body, *, offset: int, pending: bytes) -> None:
    while not talk.over and not talk.handed:
        part = body.read(offset, CHUNK)
        offset += len(part)
        if not part and offset < body.size:
            raise OSError(f"the object ended after {offset} of {body.size} bytes")
        talk.handed = offset >= body.size
        await connection.send(pending + make_chunk(part, END if talk.handed else b""))
        pending = b""
        # Once around for the system to tell what has come, once to take it in: a server may end its reply and the
        # connection while we send, and its words would be lost to the next write.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
