"""The POP3 server behind the gateway: found, greeted, asked one thing at a time.

Rules of this file: no silent fall-back from TLS; an answer is believed only where a question was asked; whatever is no
answer ends the connection; QUIT, which deletes mails there, is said for a client that said it, and never by us.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from mailgw.channel import Channel, PeerGone, PeerSilent
from mailgw.pop3.replies import ListReader, Reply, ReplyFault, take_reply
from mailgw.smtp.dots import DotReader
from policy.address import Address

logger = logging.getLogger(__name__)

REPLY_WITHIN = 300.0  # seconds; a large maildrop takes its time to be locked


class ServerGone(ConnectionError):
    """The server cannot be reached, has closed, or says what is no reply (remote fault, temporary). `reply` is its
    last word, where it had one."""

    def __init__(self, why: str, reply: Reply | None = None) -> None:
        super().__init__(why)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Route:
    """Where to, in order, and how. Times in seconds."""

    servers: Sequence[Address]
    mode: str  # server-tls.mode
    context: ssl.SSLContext | None
    connect_within: float
    stall: float


class Server:
    """One connection to one server. `over` once it has ended, or must."""

    def __init__(self, channel: Channel, address: Address, stall: float) -> None:
        self.channel = channel
        self.address = address
        self.over = False
        self._stall = stall

    def __repr__(self) -> str:
        return f"<Server {self.address}{', over' if self.over else ''}, {self.channel!r}>"

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

    def abort(self) -> None:
        """Close at once; nothing is deleted there."""
        self.over = True
        self.channel.abort()


async def open_server(route: Route) -> tuple[Server, Reply]:
    """The first server that greets with +OK, and its greeting. Raises ServerGone; its `reply` is then the last refusal
    that a server gave."""
    refused: Reply | None = None
    for address in route.servers:
        try:
            return await _open(address, route)
        except ServerGone as gone:
            logger.warning("server %s: %s", address, gone)
            refused = gone.reply or refused
    raise ServerGone("no server can be reached", refused)


async def _open(address: Address, route: Route) -> tuple[Server, Reply]:
    channel: Channel | None = None
    try:
        async with asyncio.timeout(route.connect_within):
            channel = await _connect(address, route)
            server = Server(channel, address, route.stall)
            greeting = await server.read(route.connect_within)
            if not greeting.good:
                raise ServerGone(f"it greets with {greeting}", greeting)
            if route.mode == "starttls":
                await _secure(server, route)
            server.check_quiet()
            return server, greeting
    except (OSError, TimeoutError, ssl.SSLError) as error:
        if channel is not None:
            channel.abort()
        if isinstance(error, ServerGone):
            raise
        raise ServerGone(f"no connection: {error or 'timed out'}") from error
    except BaseException:
        if channel is not None:
            channel.abort()
        raise


async def _connect(address: Address, route: Route) -> Channel:
    loop = asyncio.get_running_loop()
    tls = route.context if route.mode == "implicit" else None
    if address.unix is not None:
        return (await loop.create_unix_connection(Channel, address.unix))[1]
    hostname = address.host if tls else None
    return (await loop.create_connection(Channel, address.host, address.port, ssl=tls, server_hostname=hostname))[1]


async def _secure(server: Server, route: Route) -> None:
    """STLS, TLS (RFC 2595, 4). A server that does not know it says so, and is left."""
    ready = await server.ask(b"STLS", route.connect_within)
    if not ready.good or route.context is None:
        raise ServerGone(f"it refuses STLS, which the policy demands: {ready}")
    try:
        await server.channel.start_tls(
            route.context, server_side=False, within=route.connect_within, hostname=server.address.host or None
        )
    except PeerGone as fault:
        raise ServerGone(str(fault)) from fault
