"""The engine `clamav-net`: clamd on a TCP port or a Unix socket.

Rules of this file: one engine object speaks one transport; which one serves is decided by proof, elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from policy.verdict import Coverage, Status
from scanners.clamd.database import Database
from scanners.clamd.replies import DESCRIPTOR, STREAM, Exchange, judge
from scanners.clamd.wire import ask_version, send_descriptor, send_stream
from scanners.connection import Address
from scanners.engine import Answer, Body


class Transport(StrEnum):
    """How the object reaches clamd."""

    FILDES = "fildes"  # its descriptor is passed over a Unix socket; nothing is copied
    INSTREAM = "instream"  # its bytes are sent


_ROADS: dict[Transport, Callable[[Address, Body], Awaitable[Exchange]]] = {
    Transport.FILDES: send_descriptor,
    Transport.INSTREAM: send_stream,
}
_SUBJECTS = {Transport.FILDES: DESCRIPTOR, Transport.INSTREAM: STREAM}


class ClamavNet:
    """clamd at one address by one transport. FILDES on a TCP address is a ValueError."""

    protocol = "clamav-net"
    coverage = Coverage.FULL
    limit_setting = "MaxFileSize, MaxScanSize and StreamMaxLength in clamd.conf"

    def __init__(self, address: Address, transport: Transport) -> None:
        if transport is Transport.FILDES and address.unix is None:
            raise ValueError(f"{address}: a descriptor can be passed over a Unix socket only; use instream")
        self._address = address
        self._transport = transport
        self._database = Database(address.unix)

    def __str__(self) -> str:
        return f"clamd at {self._address} by {self._transport.upper()}"

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation."""
        try:
            said = await _ROADS[self._transport](self._address, body)
        except OSError as why:
            return Answer(Status.ERROR, detail=f"{self._address}: {why.strerror or why}")
        return judge(said, _SUBJECTS[self._transport])

    async def version(self) -> str:
        """E.g. `ClamAV 1.4.6/27000/Sun Nov 22 ...`; "" where clamd does not tell."""
        return await ask_version(self._address)

    async def stamp(self) -> str:
        """Of a local clamd's database directory, where that can be found out; "" elsewhere."""
        return await self._database.stamp()

    async def close(self) -> None:
        """Nothing is held between two checks."""
