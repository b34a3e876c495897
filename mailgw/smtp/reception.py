"""The mail that a session is about to take: its envelope so far, its octets on their way, its answer.

Rules of this file: one mail at a time; it is checked by the policy that is in force when its first octet may come, and
that policy stays open until it is done with; whatever ends it gives its room back.
"""

from __future__ import annotations

from typing import Protocol

from inspection.checkpoint import Closable
from mailgw.channel import Channel, PeerGone
from mailgw.envelope import Envelope
from mailgw.smtp.commands import Chunk
from mailgw.smtp.intake import Intake
from mailgw.smtp.mail import Mail
from mailgw.smtp.next_hop import NextHop
from mailgw.smtp.replies import Reply
from mailgw.smtp.site import SmtpSite
from mailgw.smtp.transaction import Transaction


class Door(Protocol):
    """What a session knows of its gateway."""

    @property
    def site(self) -> SmtpSite | None:
        """The policy in force."""

    @property
    def draining(self) -> bool:
        """No new mail is begun."""


class Reception:
    """`owner` is whom the policy closes where it must not wait any longer. `options` are MAIL's parameters."""

    def __init__(self, channel: Channel, door: Door, site: SmtpSite, owner: Closable) -> None:
        self.transaction = Transaction()
        self.options: tuple[str, ...] = ()
        self._channel, self._door, self._owner = channel, door, owner
        self._stall = site.proxy.limits.stall
        self._site = site
        self._intake: Intake | None = None

    def begin(self) -> Intake:
        """The mail's octets may come now."""
        self._site = self._door.site or self._site
        self._site.checkpoint.enter(self._owner)
        self._intake = Intake(self._site.checkpoint.room)
        return self._intake

    async def read_data(self) -> None:
        """Everything up to CRLF.CRLF. Raises PeerGone, PeerSilent."""
        if self._intake is not None:
            await self._intake.read_data(self._channel, self._stall)

    async def read_chunk(self, chunk: Chunk) -> bool:
        """One BDAT's octets; True where the mail is complete, or cannot be kept. Raises PeerGone, PeerSilent."""
        intake = self._intake or self.begin()
        self.transaction.begin_chunks()
        await intake.read_chunk(self._channel, chunk.size, self._stall)
        return chunk.last or intake.fault is not None

    async def discard(self, size: int) -> None:
        """A refused BDAT's octets, which must not be taken for commands. Raises PeerGone, PeerSilent."""
        inbox = self._channel.inbox
        while size:
            dropped = len(inbox[:size])
            del inbox[:dropped]
            size -= dropped
            if size and not await self._channel.more(self._stall):
                raise PeerGone("the client left amid a chunk")

    async def settle(
        self, hop: NextHop, offer: frozenset[str], *, chunked: bool, session: str, client: str | None, helo: str | None
    ) -> Reply:
        """The complete mail's answer. `offer`: what the next hop was found to understand. Raises PeerGone."""
        if self._intake is None:
            raise RuntimeError("no mail was begun")
        envelope = Envelope(
            session=session,
            client=client,
            server=str(hop.address),
            helo=helo,
            sender=self.transaction.sender,
            recipients=tuple(self.transaction.recipients),
            mail_options=self.options,
            engines=self._site.engines,
        )
        try:
            return await Mail(self._site, self._channel, hop, envelope, self._intake, offer, chunked).settle()
        finally:
            self.forget()

    def forget(self) -> None:
        """The envelope and what came of the mail; another one may begin."""
        self.drop()
        self.options = ()
        self.transaction.reset()

    def drop(self) -> None:
        """Give the room back. May be called twice."""
        if self._intake is not None:
            self._intake.close()
            self._intake = None
            self._site.checkpoint.leave(self._owner)
