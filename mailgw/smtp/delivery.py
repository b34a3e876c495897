"""An accepted mail on its way to the next hop, and nothing else (RFC 5321, 3.3).

Rules of this file: DATA is said after the verdict; the final dot only while the client is there to hear the answer;
consent is the next hop's alone, and counts behind the end only; everything else tells the client to try again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mailgw.channel import PeerGone
from mailgw.dots import stuff
from mailgw.smtp.next_hop import FINAL_REPLY_WITHIN, NextHop, NextHopGone
from mailgw.smtp.replies import Reply
from scanners.engine import Body

_PIECE = 256 * 1024
_AT_ONCE = 64 * 1024  # octets of a mail that goes with its final dot in one go
BROKEN = Reply.make(451, "4.4.2", "the next hop broke off, try again later")
COPY_REFUSED = Reply.make(451, "4.7.1", "not every recipient can be served now, try again later")


@dataclass(frozen=True, slots=True)
class Delivery:
    """`copies`: further recipients. `chunked`: by BDAT, as it came. `gone` says whether the client has left."""

    hop: NextHop
    body: Body
    gone: Callable[[], bool]
    copies: Sequence[str] = ()
    dsn: bool = False
    chunked: bool = False

    async def run(self) -> Reply:
        """The answer for the client: the next hop's, or 451. Raises PeerGone where the client left before it counted;
        the next hop has no mail then."""
        try:
            refused = await self._add_copies()
            if refused is not None:
                return refused
            return await (self._send_chunk() if self.chunked else self._send_data())
        except NextHopGone as gone:
            return gone.reply or BROKEN
        except BaseException:
            self.hop.abort()  # a spool that cannot be read, a cancellation: nothing more is said there, not even QUIT
            raise

    async def _add_copies(self) -> Reply | None:
        for address in self.copies:
            never = b" NOTIFY=NEVER" if self.dsn else b""
            reply = await self.hop.ask(b"RCPT TO:<" + address.encode("ascii") + b">" + never)
            if not reply.good:
                await reset(self.hop)
                return COPY_REFUSED
        return None

    async def _send_data(self) -> Reply:
        ready = await self.hop.ask(b"DATA")
        if ready.code != 354:
            await reset(self.hop)
            return _answer(ready, consent=False)
        rest = b""
        if self.body.size <= _AT_ONCE:
            rest = b"".join(stuff(_read(self.body)))
        else:
            for piece in stuff(_read(self.body)):
                self._check_client()
                await self.hop.send(piece)
        self._check_client()
        self.hop.check_quiet()  # an answer before the end is none to the mail
        await self.hop.send(rest + b".\r\n")
        return _answer(await self.hop.read(FINAL_REPLY_WITHIN))

    async def _send_chunk(self) -> Reply:
        self.hop.check_quiet()
        self.hop.channel.write(b"BDAT %d LAST\r\n" % self.body.size)
        for piece in _read(self.body):
            self._check_client()
            self.hop.check_quiet()
            await self.hop.send(piece)
        return _answer(await self.hop.read(FINAL_REPLY_WITHIN))

    def _check_client(self) -> None:
        if self.gone():
            self.hop.abort()
            raise PeerGone("the client left before the mail was handed on")


async def reset(hop: NextHop) -> None:
    """Have the next hop forget the envelope; one that cannot even do that is left."""
    try:
        reply = await hop.ask(b"RSET")
    except NextHopGone:
        return
    if not reply.good:
        hop.abort()


def _answer(reply: Reply, *, consent: bool = True) -> Reply:
    """What the client may be told: refusals always, consent where it can be one."""
    return reply if reply.code >= 400 or (consent and reply.good) else BROKEN


def _read(body: Body) -> Iterator[bytes]:
    for offset in range(0, body.size, _PIECE):
        yield body.read(offset, _PIECE)
