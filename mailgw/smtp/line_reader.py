"""A client's lines, one at a time, each within its time.

Rules of this file: `idle` seconds until a line begins, `header` seconds until it ends; a line that is too long is read
to its end, but not without bound.
"""

from __future__ import annotations

import asyncio

from mailgw.channel import Channel, PeerGone
from mailgw.smtp.commands import MAX_AUTH, MAX_DISCARDED, LineTooLong, drop_line, take_line
from policy.model.gateway import Limits


class LineReader:
    """`idle` is true while the client has nothing begun and we wait."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.idle = False
        self._channel, self._limits = channel, limits

    async def read(self) -> bytes | None:
        """The next line with its end, b"" for one that is too long; None at the client's end. Raises PeerSilent,
        PeerGone."""
        loop, inbox = asyncio.get_running_loop(), self._channel.inbox
        begun, dropped = bool(inbox), 0
        deadline = loop.time() + (self._limits.header if begun else self._limits.idle)
        while True:
            try:
                line = take_line(inbox, MAX_AUTH)
                if line is not None:
                    return b"" if dropped else line
            except LineTooLong:
                dropped += drop_line(inbox)
                if dropped > MAX_DISCARDED:
                    raise PeerGone("a line without end") from None
                if inbox:
                    continue
            if not await self._wait(deadline - loop.time(), begun=begun):
                return None
            if not begun:
                begun, deadline = True, loop.time() + self._limits.header

    async def _wait(self, within: float, *, begun: bool) -> bool:
        self.idle = not begun
        try:
            return await self._channel.more(within)
        finally:
            self.idle = False
