"""A body as it comes in: the bytes as transferred, and the bytes that an engine must see.

Rules of this file: without a coding both are one spool; with codings a task decodes behind the arrival, in
bounded pieces; the receiver gets the origin's bytes where there is at most one plain coding, else identity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from addons.body.codings import Coding, Decoder
from addons.body.polyglots import reads_as_a_file
from inspection.spool import Spool, SpoolRoom

_PIECE = 64 * 1024


class Intake:
    """The spools of one body. `grown` is called with the number of decoded bytes whenever there are more.

    `feed` and `decode` raise OSError where there is no room; `decode` raises CodingError besides."""

    def __init__(self, room: SpoolRoom, coding: Coding, grown: Callable[[int], None]) -> None:
        self.raw: Spool = room.open()
        self.content: Spool = room.open() if coding.layers else self.raw
        self.outgoing: Spool = self.raw if coding.passthrough else self.content
        self.complete = False
        self.reads_one_way = True  # False where some clients read less of the coded bytes than we did
        self.reads_as_a_file = False  # True where whoever does not decode the bytes may open them as an archive
        self._coding = coding
        self._grown = grown
        self._max_output = room.max_object
        self._arrived = asyncio.Event()

    @property
    def coded(self) -> bool:
        """True where `decode` must run."""
        return self.content is not self.raw

    def feed(self, data: bytes) -> None:
        """The next bytes as transferred."""
        self.raw.append(data)
        if self.coded:
            self._arrived.set()
        else:
            self._grown(self.raw.size)

    def finish(self) -> None:
        """No more bytes come."""
        self.raw.finish()
        self.complete = True
        self._arrived.set()

    async def decode(self) -> None:
        """Decode until the end of the body; afterwards `content` is complete."""
        decoder = Decoder(self._coding.layers, self._max_output)
        offset = 0
        while not (self.complete and offset == self.raw.size):
            if offset == self.raw.size:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            data = self.raw.read(offset, _PIECE)
            offset += len(data)
            await self._keep(decoder.feed(data))
        decoder.finish()
        self.reads_one_way = decoder.plain or not self._coding.passthrough
        self.reads_as_a_file = self._coding.passthrough and reads_as_a_file(self.raw)
        self.content.finish()

    async def _keep(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.content.append(piece)
            self._grown(self.content.size)
            await asyncio.sleep(0)  # a bomb unpacks for long: the others get their turn after each piece

    def deliver_as_transferred(self) -> None:
        """The codings could not be undone: whoever still gets the body gets the origin's bytes."""
        self.outgoing = self.raw

    def deliver_decoded(self) -> None:
        """Whoever gets the body gets what was checked, as identity."""
        self.outgoing = self.content

    def close(self) -> None:
        """Give the spools back. May be called twice."""
        self.raw.close()
        self.content.close()

    def __repr__(self) -> str:
        return f"Intake({self.raw!r}, {'decoding' if self.coded else 'plain'})"
