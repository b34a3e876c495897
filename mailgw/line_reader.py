"""A client's lines, one at a time, each within its time.

Rules of this file: `idle` seconds until a line begins, `header` seconds until it ends; a line that is too long is read
to its end, but not without bound.
"""

from __future__ import annotations

import asyncio

from mailgw.channel import Channel, PeerGone
from policy.model.gateway import Limits

MAX_LINE = 12288  # octets with line end: a response within a login (RFC 4954, 4)
MAX_DISCARDED = 65536  # of a line that is too long; then the connection ends


class LineTooLong(ValueError):
    """No line end within the bound (remote fault)."""


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
                line = take_line(inbox, MAX_LINE)
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


def take_line(inbox: bytearray, limit: int) -> bytes | None:
    """Take one line off the front, with its line end; None while there is none. Raises LineTooLong."""
    end = inbox.find(b"\n", 0, limit)
    if end < 0:
        if len(inbox) >= limit:
            raise LineTooLong(f"a line of more than {limit} octets")
        return None
    line = bytes(inbox[: end + 1])
    del inbox[: end + 1]
    return line


def drop_line(inbox: bytearray) -> int:
    """Drop what is there of a line that is too long, without its end; how many octets that was."""
    end = inbox.find(b"\n")
    size = len(inbox) if end < 0 else end
    del inbox[:size]
    return size


def is_gone(channel: Channel) -> bool:
    """Whether the client will hear no answer. One that sent QUIT and then its end still listens."""
    return channel.lost or (channel.eof and not channel.inbox.upper().endswith(b"QUIT\r\n"))
