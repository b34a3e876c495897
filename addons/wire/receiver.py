"""The peer that a body goes to, as far as mitmproxy's private tables show it: how much it has yet to take.

Rules of this file: every private name used here is named in `addons.surface`; a peer that is gone has nothing
left to take; no wait is without a bound, but a slow peer that takes bytes at all is a live one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from mitmproxy.connection import Connection
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO

from addons.wire.piece_reader import PieceReader

# What may lie in mitmproxy's HTTP/2 buffer of one stream before the next slice waits, bytes. HTTP/2 has its own
# flow control there, which mitmproxy's buffer would otherwise swallow whole.
H2_BACKLOG = 512 * 1024
_H2_POLL = 0.005  # seconds
_LOOK = 1.0  # seconds
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ReceiverStuck(TimeoutError):
    """The peer took no byte for as long as the policy's `limits.stall` (remote fault, temporary)."""


class Receiver:
    """One connection that a body leaves on; `handler` is mitmproxy's ConnectionHandler of the client."""

    def __init__(self, handler: ConnectionHandler | None, connection: Connection) -> None:
        self._handler = handler
        self._connection = connection
        self._h2: Any = None
        self._stream_id = 0

    def bind_stream(self, protocol: Layer | None, stream_id: int) -> None:
        """Tell it the HTTP connection layer that the body is sent through."""
        self._h2 = getattr(protocol, "h2_conn", None)
        # Towards a server mitmproxy numbers the streams anew (Http2Client).
        self._stream_id = getattr(protocol, "our_stream_id", {}).get(stream_id, stream_id)

    async def drained(self, stall: float) -> None:
        """Return once the peer has taken nearly all that was sent. Raises ReceiverStuck after `stall` seconds
        without a byte taken."""
        loop = asyncio.get_running_loop()
        left, since = self._pending(), loop.time()
        while left:
            await self._wait(stall)
            now_left = self._pending()
            if now_left < left:
                since = loop.time()
            elif loop.time() - since >= stall:
                raise ReceiverStuck(f"the peer took no byte for {stall:g} s")
            left = now_left

    async def _wait(self, stall: float) -> None:
        if self._h2_queued() > H2_BACKLOG:
            await asyncio.sleep(_H2_POLL)
            return
        writer = self._writer()
        if writer is None:
            return
        try:
            # Other streams of the connection fill what this one sees drain: look often enough to see both.
            async with asyncio.timeout(min(stall, _LOOK)):
                await writer.drain()
        except (TimeoutError, OSError):
            return

    @property
    def is_busy(self) -> bool:
        """True while the peer has more to take than the buffers hold gladly."""
        return self._pending() > 0

    def abort(self) -> None:
        """Give up a peer that takes nothing: closing would wait for it to take what is left, for ever. A peer that
        only holds back one stream of HTTP/2 keeps its connection."""
        writer = self._writer()
        if writer is not None and _is_over_limit(writer):
            writer.transport.abort()

    def abort_at_once(self) -> None:
        """End the connection; what has not left yet never does."""
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()

    def close_connection(self) -> None:
        """End the connection in an orderly way, as mitmproxy's own time-out does: what was written still leaves."""
        if (io := self._transport()) is not None and io.handler is not None:
            io.handler.cancel("closed by the gateway")

    def cut_connection(self, *, reset: bool) -> None:
        """End the connection at once; by a reset where that is wanted or something written has not left yet."""
        writer = self._writer()
        if reset or (writer is not None and writer.transport.get_write_buffer_size()):
            self.reset_on_close()
        self.abort_at_once()
        self.close_connection()  # mitmproxy would wait for its own side of it to be closed

    @property
    def heard_at(self) -> float | None:
        """When the first byte came since `listen_anew`, in the loop's time; None where none came, or nobody knows."""
        reader = self._reader()
        return reader.heard_at if reader is not None else None

    def listen_anew(self) -> None:
        """Forget what was heard so far."""
        if (reader := self._reader()) is not None:
            reader.heard_at = None

    def read_in_pieces(self) -> None:
        """Take large pieces from this peer, uncopied. May be called twice."""
        self._reader()

    def pause_reading(self) -> None:
        """Take nothing more from this peer for now; one more piece may be under way already."""
        if (reader := self._reader()) is not None:
            reader.hold()

    def resume_reading(self) -> None:
        """Take from this peer again."""
        if (reader := self._reader()) is not None:
            reader.let_go()

    def _transport(self) -> ConnectionIO | None:
        return self._handler.transports.get(self._connection) if self._handler else None

    def _reader(self) -> PieceReader | None:
        transport = self._transport()
        reader = getattr(transport, "reader", None)
        return PieceReader.take_over(reader) if isinstance(reader, asyncio.StreamReader) else None

    def _pending(self) -> int:
        """Bytes that must leave before more is sent; 0 while the buffers have room."""
        queued = self._h2_queued()
        pending = queued if queued > H2_BACKLOG else 0
        writer = self._writer()
        if writer is None:
            return 0
        buffered: int = writer.transport.get_write_buffer_size()
        return pending + (buffered if _is_over_limit(writer) else 0)

    def _h2_queued(self) -> int:
        if self._h2 is None or not (queue := self._h2.stream_buffers.get(self._stream_id)):
            return 0
        return sum(len(item.data) for item in queue)

    def _writer(self) -> asyncio.StreamWriter | None:
        transport = self._transport()
        writer = getattr(transport, "writer", None)
        # Other modes of mitmproxy (WireGuard, local capture) have writers of another kind, without a buffer to ask.
        return writer if isinstance(writer, asyncio.StreamWriter) and not writer.is_closing() else None

    def reset_on_close(self) -> None:
        """Let the coming close be a TCP reset: for a client that would take a plain one for success."""
        writer = self._writer()
        sock = writer.get_extra_info("socket") if writer else None
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _is_over_limit(writer: asyncio.StreamWriter) -> bool:
    high: int = writer.transport.get_write_buffer_limits()[1]
    buffered: int = writer.transport.get_write_buffer_size()
    return buffered > high
