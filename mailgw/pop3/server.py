"""The POP3 server behind the gateway: found, greeted, asked one thing at a time.

Rules of this file: no silent fall-back from TLS; an answer is believed only where a question was asked; whatever is no
answer ends the connection; QUIT, which deletes mails there, is said for a client that said it, and never by us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from mailgw.channel import PeerSilent
from mailgw.dots import DotReader
from mailgw.far_side import FarSide, FarSideGone, Route, open_far_side
from mailgw.pop3.replies import ListReader, Reply, ReplyFault, take_reply

REPLY_WITHIN = 300.0  # seconds; a large maildrop takes its time to be locked


class ServerGone(FarSideGone[Reply]):
    """The server's."""


class Server(FarSide):
    """One connection to one server: `abort` deletes nothing there."""

    async def read(self, within: float = REPLY_WITHIN, *, login: bool = False) -> Reply:
        """The next status line. Raises ServerGone."""
        deadline = asyncio.get_running_loop().time() + within
        try:
            while (reply := take_reply(self.channel.inbox, login=login)) is None:
                await self._wait(deadline - asyncio.get_running_loop().time())
        except ReplyFault as fault:
            self.abort()
            raise ServerGone(str(fault)) from fault
        return reply

    async def ask(self, line: bytes, within: float = REPLY_WITHIN, *, login: bool = False) -> Reply:
        """Send one line (without its end) and read the status line. Raises ServerGone."""
        self.check_quiet()
        self.channel.write(line + b"\r\n")
        return await self.read(within, login=login)

    async def read_list(self) -> AsyncIterator[bytes]:
        """What follows a good answer to LIST, UIDL or CAPA, as it comes, with its final dot. Raises ServerGone."""
        lines = ListReader()
        while True:
            try:
                if piece := lines.take(self.channel.inbox):
                    yield piece
            except ReplyFault as fault:
                self.abort()
                raise ServerGone(str(fault)) from fault
            if lines.done:
                return
            await self._wait(self._stall)

    async def read_mail(self) -> AsyncIterator[bytes]:
        """What follows a good answer to RETR, dots taken off, without the final one. Raises ServerGone."""
        dots = DotReader()
        while True:
            if piece := dots.take(self.channel.inbox):
                yield piece
            if dots.done:
                return
            await self._wait(self._stall)

    async def _wait(self, within: float) -> None:
        try:
            if await self.channel.more(within):
                return
            why = "it has closed"
        except PeerSilent as silent:
            why = str(silent)
        self.abort()
        raise ServerGone(why)

    def check_quiet(self) -> None:
        """Raises ServerGone where something was said that nobody asked for."""
        if self.over:
            raise ServerGone("it is over")
        if not self.channel.inbox and not self.channel.eof:
            return
        self.abort()
        raise ServerGone("it has closed, or said what nobody asked for")


async def open_server(route: Route) -> tuple[Server, Reply]:
    """The first server that greets with +OK, and its greeting. Raises ServerGone."""

    async def greet(server: Server) -> Reply:
        greeting = await server.read(route.connect_within)
        if not greeting.good:
            raise ServerGone(f"it greets with {greeting}", greeting)
        if route.mode == "starttls":
            await _secure(server, route)
        server.check_quiet()
        return greeting

    return await open_far_side(route, partial(Server, stall=route.stall), greet, ServerGone)


async def _secure(server: Server, route: Route) -> None:
    """STLS, TLS (RFC 2595, 4). A server that does not know it says so, and is left."""
    ready = await server.ask(b"STLS", route.connect_within)
    if not ready.good:
        raise ServerGone(f"it refuses STLS, which the policy demands: {ready}")
    await server.start_tls(route)
