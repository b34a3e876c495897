"""A mail on its way from the client into its spool, by DATA or by BDAT.

Rules of this file: what cannot be kept is read to its end all the same, so that the client hears why, but not without
bound; an intake closes its spool.
"""

from __future__ import annotations

from inspection.spool import SpoolFull, SpoolRoom
from mailgw.channel import Channel, PeerGone
from mailgw.dots import DotReader, LineEnds
from mailgw.smtp.replies import Reply

TOO_LARGE = Reply.make(552, "5.3.4", "message size exceeds the limit")
NO_ROOM = Reply.make(452, "4.3.1", "no room to keep the message, try again later")
BARE = Reply.make(550, "5.6.11", "a bare CR or LF in the message; lines end in CRLF")


class Intake:
    """One mail that arrives. `fault`: the answer where it could not be kept."""

    def __init__(self, room: SpoolRoom) -> None:
        self.spool = room.open()
        self.fault: Reply | None = None
        self._room = room
        self._line_ends = LineEnds()
        self._dropped = 0

    async def read_data(self, channel: Channel, stall: float) -> None:
        """Everything up to CRLF.CRLF. Raises PeerGone, PeerSilent where the client stops before."""
        dots = DotReader()
        self._line_ends = dots.line_ends
        while True:
            self._keep(dots.take(channel.inbox))
            if dots.done:
                return
            await _wait(channel, stall)

    async def read_chunk(self, channel: Channel, size: int, stall: float) -> None:
        """The octets of one BDAT. Raises PeerGone, PeerSilent."""
        while size:
            piece = bytes(channel.inbox[:size])
            del channel.inbox[:size]
            size -= len(piece)
            self._line_ends.see(piece)
            self._keep(piece)
            if size:
                await _wait(channel, stall)

    def finish(self) -> Reply | None:
        """The mail is complete; why it is refused whatever is in it, or None."""
        self.spool.finish()
        if self.fault is None and self._line_ends.bare:
            self.fault = BARE
        return self.fault

    def _keep(self, data: bytes) -> None:
        if self.fault is not None:
            self._dropped += len(data)
            if self._dropped > self._room.max_object:
                raise PeerGone("the mail does not end")
            return
        try:
            self.spool.append(data)
        except SpoolFull:
            too_large = self.spool.size + len(data) > self._room.max_object
            self.fault = TOO_LARGE if too_large else NO_ROOM
        except OSError:
            self.fault = NO_ROOM

    def close(self) -> None:
        """Give the room back. May be called twice."""
        self.spool.close()


async def _wait(channel: Channel, stall: float) -> None:
    if not await channel.more(stall):
        raise PeerGone("the client left amid a mail")
