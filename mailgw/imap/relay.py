"""Between one client and one server: units pass, and what is not policed does not.

Rules of this file: one command at a time; capabilities are cut down wherever they are told; contents leave only through
the check that runs; a unit is written whole, so that nothing of ours can stand within it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass

from mailgw.channel import Channel, PeerGone
from mailgw.imap.capabilities import Terms, filter_line
from mailgw.imap.fetch import FetchResponse, NotUnderstood, parse_response
from mailgw.imap.server import Server, ServerGone
from mailgw.imap.units import Unit

logger = logging.getLogger(__name__)

ALIVE_EVERY = 5.0  # seconds
_ALIVE = b"* OK still checking\r\n"
_KNOWN = frozenset(
    b"OK NO BAD BYE CAPABILITY LIST LSUB STATUS SEARCH ESEARCH SORT THREAD FLAGS EXISTS RECENT EXPUNGE VANISHED ID"
    b" ENABLED NAMESPACE QUOTA QUOTAROOT ACL MYRIGHTS LISTRIGHTS".split()
)
_UNTAGGED = re.compile(rb"\* (?:\d+ )?([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose session it is; `user` is None until a login, or where it cannot be told; `proven` as in
    `login.Identity`. `download` and `upload` are the engines' names, None where mail is not scanned."""

    session: str
    client: str | None
    server: str
    user: str | None = None
    proven: str | None = None
    acl: str | None = None
    download: tuple[str, ...] | None = ()
    upload: tuple[str, ...] | None = ()


type Answer = Callable[[FetchResponse], Awaitable[bool]]


class Relay:
    """`terms` rule capabilities; `answer` sends a FETCH response with contents, or leaves it out; `notice` sees every
    untagged line."""

    def __init__(self, channel: Channel, server: Server, stall: float, terms: Terms) -> None:
        self.channel, self.server, self.terms = channel, server, terms
        self.answer: Answer | None = None
        self.notice: Callable[[bytes], None] | None = None
        self.bye = False
        self._stall = stall

    # --- to the client

    def say(self, text: bytes) -> None:
        """A line of ours."""
        self.channel.write(text + b"\r\n")

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Octets, as fast as they are taken. Raises PeerGone, PeerSilent."""
        for piece in pieces:
            self.channel.write(piece)
            await self.channel.drain(self._stall)

    # --- from the server

    async def pass_on(self, unit: Unit) -> None:
        """An untagged unit. Raises ServerGone for what is none, PeerGone, PeerSilent."""
        try:
            await self._pass_on(unit)
        finally:
            unit.close()

    async def _pass_on(self, unit: Unit) -> None:
        line = unit.texts[0]
        found = _UNTAGGED.match(line)
        if found is None:
            self.server.abort()
            raise ServerGone("the server said something out of turn")
        kind = found[1].upper()
        if self.notice is not None:
            self.notice(line)
        if kind == b"FETCH":
            await self._pass_fetch(unit)
        elif kind in _KNOWN and all(literal.body is not None for literal in unit.literals):
            self.bye = self.bye or kind == b"BYE"
            pieces = unit.pieces() if unit.literals else [filter_line(line, self.terms)]
            for piece in pieces:  # all at once: it is small
                self.channel.write(piece)
            await self.channel.drain(self._stall)
        else:
            logger.info("an answer of the kind %s is not passed on", kind.decode("ascii")[:40])

    async def _pass_fetch(self, unit: Unit) -> None:
        try:
            response = parse_response(unit)
        except NotUnderstood as why:
            logger.warning("left out: %s", why)
            return
        if response is None:
            return
        if not response.bodies:
            if all(literal.body is not None for literal in unit.literals):
                for piece in unit.pieces():
                    self.channel.write(piece)
                await self.channel.drain(self._stall)
        elif self.answer is None or not await self.answer(response):
            logger.info("contents that were not checked are left out")

    async def pass_waiting(self) -> None:
        """Everything that the server has said already."""
        while (unit := self.server.take()) is not None:
            await self.pass_on(unit)
        if self.server.channel.eof and not self.server.over:
            self.server.over = True
            raise ServerGone("the server has closed")

    async def finish(self, tag: bytes) -> bytes:
        """Pass on until the command of that tag is answered; the tagged line, cut down."""
        while True:
            unit = await self.server.read()
            if unit.texts[0].startswith(tag + b" "):
                unit.close()
                return filter_line(unit.texts[0], self.terms)
            await self.pass_on(unit)

    async def forward(self, tag: bytes, unit: Unit) -> bytes | None:
        """A command to the server, literals when it asks for them; the tagged line where it refuses one."""
        for text, literal in zip(unit.texts, unit.literals, strict=False):
            line = re.sub(rb"~?\{\d+[+-]?\}\r\n\Z", b"", text) + literal.marker()
            await self.server.send([line])
            refused = await self.await_go_ahead(tag)
            if refused is not None:
                return refused
            await self.server.send(literal.read(at, 1 << 18) for at in range(0, literal.size, 1 << 18))
        await self.server.send([unit.texts[-1]])
        return None

    async def await_go_ahead(self, tag: bytes) -> bytes | None:
        """None once the server says `+`; the tagged line where it does not."""
        while True:
            unit = await self.server.read()
            line = unit.texts[0]
            if line.startswith(b"+"):
                return None
            if line.startswith(tag + b" "):
                return filter_line(line, self.terms)
            await self.pass_on(unit)

    async def run(self, tag: bytes, unit: Unit) -> bytes:
        """A command to the server, its answers to the client; the tagged line."""
        return await self.forward(tag, unit) or await self.finish(tag)

    # --- while something is checked

    async def while_checking[T](self, work: Coroutine[None, None, T]) -> T:
        """What `work` gives. The client hears that we are alive; PeerGone as soon as it leaves, and `work` ends."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        gone = loop.create_task(self.channel.wait_gone(is_gone))
        try:
            while not task.done():
                done, _ = await asyncio.wait({task, gone}, timeout=ALIVE_EVERY, return_when=asyncio.FIRST_COMPLETED)
                if gone in done and not task.done():
                    raise PeerGone("the client left during a check")
                if not done:
                    self.channel.write(_ALIVE)
            return task.result()
        finally:
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)


def is_gone(channel: Channel) -> bool:
    """Whether the client will hear no answer. One that sent LOGOUT and then its end still listens."""
    return channel.lost or (channel.eof and b"LOGOUT" not in bytes(channel.inbox[-200:]).upper())
