"""A sender held back while its receiver takes its time, where mitmproxy would buffer without a bound.

Rules of this file: needed only for what streams past unchecked, a transfer asks its receiver itself; HTTP/2 is where
it matters, because mitmproxy takes in all that an origin sends whatever the client's window is; the whole connection
of the sender is held back, its other streams with it, until the receiver goes on or is given up.
"""

from __future__ import annotations

import asyncio

from mitmproxy.proxy.layer import Layer

from addons.wire.receiver import Receiver, ReceiverStuck


class Throttle:
    """Between two peers of one flow; `stall` is how long the receiver may take no byte, seconds."""

    def __init__(self, sender: Receiver, receiver: Receiver, stall: float) -> None:
        self._sender = sender
        self._receiver = receiver
        self._stall = stall
        self._waiting: asyncio.Task[None] | None = None

    def bind_stream(self, protocol: Layer | None, stream_id: int) -> None:
        """Tell it the HTTP connection layer that the body is sent through."""
        self._receiver.bind_stream(protocol, stream_id)

    def passed(self) -> None:
        """Some bytes went on. Never waits."""
        if not self._receiver.is_busy:
            return
        self._sender.pause_reading()
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        try:
            await self._receiver.drained(self._stall)
        except ReceiverStuck:
            self._sender.abort_at_once()
        else:
            self._sender.resume_reading()
        finally:
            self._waiting = None
