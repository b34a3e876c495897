"""The IMAP server behind us: found, greeted, heard unit by unit.

Rules of this file: no silent fall-back from TLS; nothing is believed that came before TLS stands; whatever is no unit
ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from inspection.spool import SpoolFull, SpoolRoom
from mailgw.channel import Channel, PeerGone, PeerSilent
from mailgw.far_side import FarSide, FarSideGone, Route, open_far_side
from mailgw.imap.units import Bounds, Literal, Unit, UnitFault, UnitReader
from policy.address import Address

ANSWER_WITHIN = 600.0  # seconds of silence amid a command: a search through a large mailbox takes its time
_IN_MEMORY = 64 * 1024  # octets of a literal that needs no spool
_BOUNDS = Bounds(lines=16 << 20, memory=32 << 20, literals=10_000)
_NO_LITERALS = re.compile(rb"(?!\* )|\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
_GREETING = re.compile(rb"\* (OK|PREAUTH|BYE)\b", re.IGNORECASE)


class ServerGone(FarSideGone[bytes]):
    """The server's; `reply` is its BYE."""


type See = Callable[[Unit], Awaitable[None]]


class Server(FarSide):
    """One connection to one server. `room` is where large literals go."""

    def __init__(self, channel: Channel, address: Address, room: SpoolRoom, stall: float) -> None:
        super().__init__(channel, address, stall)
        self.room = room
        self._reader = UnitReader(_BOUNDS, self._keep, lambda line: not _NO_LITERALS.match(line))
        self._count = 0

    def _keep(self, unit: Unit, literal: Literal) -> None:
        if literal.size <= _IN_MEMORY:
            literal.body = bytearray()
        elif literal.size > self.room.max_object:
            literal.fault = SpoolFull("larger than max-object")
        else:
            literal.body = self.room.open()

    def take(self) -> Unit | None:
        """A unit that is here already. Raises ServerGone."""
        try:
            return self._reader.take(self.channel.inbox)
        except UnitFault as fault:
            self.abort()
            raise ServerGone(f"the server said what is no IMAP: {fault}") from fault

    async def read(self, within: float = ANSWER_WITHIN) -> Unit:
        """The next unit. Raises ServerGone."""
        try:
            while (unit := self.take()) is None:
                if not await self.channel.more(self._stall if self._reader.begun else within):
                    raise ServerGone("the server has closed")
        except (PeerSilent, PeerGone) as gone:
            self.abort()
            raise ServerGone(str(gone)) from gone
        return unit

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Octets for it. Raises ServerGone."""
        try:
            for piece in pieces:
                self.channel.write(piece)
                await self.channel.drain(self._stall)
        except (PeerGone, PeerSilent) as gone:
            self.over = True
            raise ServerGone(str(gone)) from gone

    async def ask(self, line: bytes, see: See) -> bytes:
        """A command of our own, without its tag; each answer without our tag goes to `see`, who closes it. The tagged
        one's status and text. Raises ServerGone."""
        self._count += 1
        tag = b"sluice%d " % self._count
        await self.send([tag + line + b"\r\n"])
        while True:
            unit = await self.read()
            if unit.texts[0].startswith(tag):
                return unit.texts[0][len(tag) :]
            if not unit.texts[0].startswith(b"* "):
                self.abort()
                raise ServerGone("the server answered what was not asked")
            await see(unit)

    def abort(self) -> None:
        """Close at once."""
        self._reader.close()
        super().abort()

    async def finish(self, *, farewell: bool) -> None:
        """Close; with LOGOUT, whose answer nobody waits for, where it still listens."""
        if farewell and not self.over:
            self.channel.write(b"sluice LOGOUT\r\n")
        self.over = True
        self._reader.close()
        await self.channel.finish(5.0)


async def open_server(route: Route, room: SpoolRoom) -> tuple[Server, bytes]:
    """The first server that greets, and its greeting as it holds now: with its capabilities under TLS. Raises
    ServerGone."""

    async def greet(server: Server) -> bytes:
        greeting = await _greet(server, route)
        return await _secure(server, route, greeting) if route.mode == "starttls" else greeting

    return await open_far_side(route, partial(Server, room=room, stall=route.stall), greet, ServerGone)


async def _greet(server: Server, route: Route) -> bytes:
    line = (await server.read(route.connect_within)).texts[0]
    found = _GREETING.match(line)
    if found is None:
        raise ServerGone("it greets with what is no greeting")
    if found[1].upper() == b"BYE":
        raise ServerGone("it greets with BYE", line)
    if found[1].upper() == b"PREAUTH" and route.mode == "starttls":
        raise ServerGone("it greets with PREAUTH, behind which there is no STARTTLS, which the policy demands")
    return line


async def _secure(server: Server, route: Route, greeting: bytes) -> bytes:
    """STARTTLS, and the capabilities anew: what was said before does not count (RFC 9051, 6.2.1)."""

    async def forget(unit: Unit) -> None:
        unit.close()

    ready = await server.ask(b"STARTTLS", forget)
    if not ready.upper().startswith(b"OK"):
        raise ServerGone("it refuses STARTTLS, which the policy demands")
    await server.start_tls(route)
    words: list[bytes] = []

    async def note(unit: Unit) -> None:
        if unit.texts[0].upper().startswith(b"* CAPABILITY "):
            words.append(unit.texts[0][len(b"* CAPABILITY ") : -2])
        unit.close()

    await server.ask(b"CAPABILITY", note)
    text = re.sub(rb"\[CAPABILITY [^\]]*\] ?", b"", greeting[5:], flags=re.IGNORECASE)
    return b"* OK [CAPABILITY %s] %s" % (words[-1], text) if words else greeting[:5] + text
