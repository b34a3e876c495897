"""The next hop: found, greeted, asked one thing at a time.

Rules of this file: no silent fall-back from TLS; an answer is believed only where a question was asked; whatever is no
answer ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from mailgw.channel import Channel, PeerGone, PeerSilent
from mailgw.smtp.replies import Reply, ReplyFault, take_reply
from policy.address import Address
from policy.model.gateway import ServerTls

logger = logging.getLogger(__name__)

REPLY_WITHIN = 300.0  # seconds, RFC 5321, 4.5.3.2
FINAL_REPLY_WITHIN = 600.0  # behind the final dot, 4.5.3.2.6


class NextHopGone(ConnectionError):
    """The next hop cannot be reached, has closed, or says what is no reply (remote fault, temporary). `reply` is its
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


def make_context(tls: ServerTls) -> ssl.SSLContext | None:
    """For `server-tls`; None where the connection is plain. Raises OSError, ssl.SSLError for a bad `ca`. Blocks."""
    if tls.mode == "none":
        return None
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class NextHop:
    """One connection to one next hop. `over` once it has ended, or must."""

    def __init__(self, channel: Channel, address: Address, stall: float) -> None:
        self.channel = channel
        self.address = address
        self.over = False
        self._stall = stall

    def __repr__(self) -> str:
        return f"<NextHop {self.address}{', over' if self.over else ''}, {self.channel!r}>"

    async def read(self, within: float = REPLY_WITHIN) -> Reply:
        """The next reply. Raises NextHopGone."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        try:
            while (reply := take_reply(self.channel.inbox)) is None:
                if not await self.channel.more(deadline - loop.time()):
                    raise NextHopGone("it has closed")
        except (PeerSilent, ReplyFault, NextHopGone) as fault:
            self.abort()
            raise NextHopGone(str(fault)) from fault
        if reply.code == 421:
            self.over = True
        return reply

    async def ask(self, line: bytes, within: float = REPLY_WITHIN) -> Reply:
        """Send one line (without its end) and read the reply. Raises NextHopGone."""
        self.check_quiet()
        self.channel.write(line + b"\r\n")
        return await self.read(within)

    def check_quiet(self) -> None:
        """Raises NextHopGone where something was said that nobody asked for: with 421 that is a farewell."""
        if self.over:
            raise NextHopGone("it is over")
        if not self.channel.inbox and not self.channel.eof:
            return
        self.over = True
        try:
            reply = take_reply(self.channel.inbox)
        except ReplyFault:
            reply = None
        self.abort()
        raise NextHopGone("it has closed, or said what nobody asked for", _farewell(reply))

    async def send(self, data: bytes) -> None:
        """Send octets of a mail. Raises NextHopGone."""
        self.channel.write(data)
        try:
            await self.channel.drain(self._stall)
        except (PeerGone, PeerSilent) as error:
            words = _farewell(self._last_words())
            self.abort()  # what waits to be sent must not make a mail of it after we have said 451
            raise NextHopGone(str(error), words) from error

    def _last_words(self) -> Reply | None:
        try:
            return take_reply(self.channel.inbox)
        except ReplyFault:
            return None

    def abort(self) -> None:
        """Close at once: what is half sent there is no mail."""
        self.over = True
        self.channel.abort()

    async def quit(self) -> None:
        """Say good-bye, without waiting for the answer."""
        if not self.over:
            self.over = True
            self.channel.write(b"QUIT\r\n")
        await self.channel.finish(5.0)


def _farewell(reply: Reply | None) -> Reply | None:
    """A refusal counts, said out of turn or not; a consent does not."""
    return reply if reply is not None and reply.code >= 400 else None


async def open_next_hop(route: Route) -> tuple[NextHop, Reply]:
    """The first server that greets with 220, and its greeting. Raises NextHopGone; its `reply` is then the last refusal
    that a server gave."""
    refused: Reply | None = None
    for address in route.servers:
        try:
            return await _open(address, route)
        except NextHopGone as gone:
            logger.warning("next hop %s: %s", address, gone)
            refused = gone.reply or refused
    raise NextHopGone("no next hop can be reached", refused)


async def _open(address: Address, route: Route) -> tuple[NextHop, Reply]:
    channel: Channel | None = None
    try:
        async with asyncio.timeout(route.connect_within):
            channel = await _connect(address, route)
            hop = NextHop(channel, address, route.stall)
            greeting = await hop.read(route.connect_within)
            if greeting.code != 220:
                await hop.quit()
                raise NextHopGone(f"it greets with {greeting}", greeting if greeting.code >= 400 else None)
            if route.mode == "starttls":
                await _secure(hop, route)
            return hop, greeting
    except (OSError, TimeoutError, ssl.SSLError) as error:
        if channel is not None:
            channel.abort()
        if isinstance(error, NextHopGone):
            raise
        raise NextHopGone(f"no connection: {error or 'timed out'}") from error
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


async def _secure(hop: NextHop, route: Route) -> None:
    """EHLO, STARTTLS, TLS. The client's own EHLO follows: what was said before does not count (RFC 3207, 4.2)."""
    offered = await hop.ask(b"EHLO " + socket.gethostname().encode("ascii", "replace"))
    words = {text.split(b" ")[0].upper() for text in offered.texts[1:]}
    if not offered.good or b"STARTTLS" not in words:
        raise NextHopGone("it does not offer STARTTLS, which the policy demands")
    ready = await hop.ask(b"STARTTLS")
    if ready.code != 220 or route.context is None:
        raise NextHopGone(f"it refuses STARTTLS: {ready}")
    await hop.channel.start_tls(
        route.context, server_side=False, within=route.connect_within, hostname=hop.address.host or None
    )
