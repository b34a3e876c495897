"""The next hop: found, greeted, asked one thing at a time.

Rules of this file: no silent fall-back from TLS; an answer is believed only where a question was asked; whatever is no
answer ends the connection.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from mailgw.channel import PeerGone, PeerSilent
from mailgw.far_side import FarSide, FarSideGone, Route, open_far_side
from mailgw.smtp.replies import Reply, ReplyFault, take_reply

REPLY_WITHIN = 300.0  # seconds, RFC 5321, 4.5.3.2
FINAL_REPLY_WITHIN = 600.0  # behind the final dot, 4.5.3.2.6


class NextHopGone(FarSideGone[Reply]):
    """The next hop's."""

    noun = "next hop"


class NextHop(FarSide):
    """One connection to one next hop: `abort` leaves no mail of what is half sent there."""

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
    """The first server that greets with 220, and its greeting. Raises NextHopGone."""

    async def greet(hop: NextHop) -> Reply:
        greeting = await hop.read(route.connect_within)
        if greeting.code != 220:
            await hop.quit()
            raise NextHopGone(f"it greets with {greeting}", _farewell(greeting))
        if route.mode == "starttls":
            await _secure(hop, route)
        return greeting

    return await open_far_side(route, partial(NextHop, stall=route.stall), greet, NextHopGone)


async def _secure(hop: NextHop, route: Route) -> None:
    """EHLO, STARTTLS, TLS. The client's own EHLO follows: what was said before does not count (RFC 3207, 4.2)."""
    offered = await hop.ask(b"EHLO " + socket.gethostname().encode("ascii", "replace"))
    words = {text.split(b" ")[0].upper() for text in offered.texts[1:]}
    if not offered.good or b"STARTTLS" not in words:
        raise NextHopGone("it does not offer STARTTLS, which the policy demands")
    ready = await hop.ask(b"STARTTLS")
    if ready.code != 220:
        raise NextHopGone(f"it refuses STARTTLS: {ready}")
    await hop.start_tls(route)
