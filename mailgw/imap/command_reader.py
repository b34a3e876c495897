"""A client's commands, one at a time, each within its time, while the server may speak.

Rules of this file: what is too large is refused before it comes, where the client waits for a go-ahead; `idle` seconds
until a command begins, `header` until its lines are there, `stall` between two pieces of a literal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inspection.spool import SpoolRoom
from mailgw.channel import Channel, PeerGone
from mailgw.imap.commands import BadCommand, read_tag
from mailgw.imap.login import MAX_RESPONSE
from mailgw.imap.relay import Relay
from mailgw.imap.units import Bounds, Literal, Unit, UnitFault, UnitReader
from mailgw.imap.upload import announces_mail
from mailgw.line_reader import LineTooLong, take_line
from policy.model.gateway import Limits

IDLE_AT_LEAST = 1800.0  # seconds, once logged in (RFC 9051, 5.4)
_BOUNDS = Bounds(lines=128 * 1024, memory=1 << 20, literals=200)
_SMALL = 64 * 1024  # octets of a literal that is no mail


class CommandReader:
    """`waiting` is true while the client has nothing begun and we wait. `room` is where its mails go."""

    def __init__(self, channel: Channel, limits: Limits, room: Callable[[], SpoolRoom]) -> None:
        self.waiting = False
        self._channel, self._limits, self._room = channel, limits, room
        self._units = UnitReader(_BOUNDS, self._keep)
        self._logged_in = False

    async def next(self, relay: Relay, *, logged_in: bool) -> Unit | None:
        """The next unit; None at the client's end, or the server's farewell. What the server says meanwhile passes.
        Raises BadCommand for a literal that is refused, UnitFault, PeerSilent."""
        self._logged_in = logged_in
        loop = asyncio.get_running_loop()
        began, begun = loop.time(), False
        while True:
            await relay.pass_waiting()
            if relay.bye:
                return None
            unit = self._units.take(self._channel.inbox)
            if unit is not None:
                return unit
            if not begun and (self._units.begun or self._channel.inbox):
                begun, began = True, loop.time()
            within = self._limits.stall if self._units.in_literal else began + self._patience(begun=begun) - loop.time()
            if not await self.wait(relay, max(0.0, within), begun=begun):
                return None

    def _patience(self, *, begun: bool) -> float:
        if begun:
            return self._limits.header
        return max(self._limits.idle, IDLE_AT_LEAST) if self._logged_in else self._limits.idle

    async def wait(self, relay: Relay, within: float, *, begun: bool = False) -> bool:
        """Until client or server say something; False where the client has left. Raises PeerSilent."""
        loop = asyncio.get_running_loop()
        client = loop.create_task(self._channel.more(within))
        server = loop.create_task(relay.server.channel.more(within + 3600))
        self.waiting = not begun
        try:
            await asyncio.wait({client, server}, return_when=asyncio.FIRST_COMPLETED)
            return client.result() if client.done() else True
        finally:
            self.waiting = False
            for task in (client, server):
                task.cancel()
            await asyncio.gather(client, server, return_exceptions=True)

    def _keep(self, unit: Unit, literal: Literal) -> None:
        """Where a literal goes. Raises BadCommand where it is refused before it comes."""
        mail = self._logged_in and announces_mail(unit)
        room = self._room()
        if literal.size > (room.max_object if mail else _SMALL):
            if literal.size > 2 * room.max_object and not literal.waits:
                raise UnitFault("a literal that is far too large")
            refused = BadCommand("too large", tag=read_tag(unit.texts[0]), word="NO", code="TOOBIG")
            if literal.waits:
                raise refused
            literal.fault = refused
            return
        literal.body = room.open() if mail else bytearray()
        if literal.waits:
            self._channel.write(b"+ go ahead\r\n")

    async def line(self, within: float) -> bytes:
        """A line that is no command, with its end; what is no line is `*`, which cancels. Raises PeerGone,
        PeerSilent."""
        try:
            while (line := take_line(self._channel.inbox, MAX_RESPONSE)) is None:
                if not await self._channel.more(within):
                    raise PeerGone("the client left amid its login")
        except LineTooLong:
            raise PeerGone("a line without end") from None
        return line if line.endswith(b"\r\n") and b"\r" not in line[:-2] else b"*\r\n"

    def close(self) -> None:
        """Let a command that was begun go."""
        self._units.close()
