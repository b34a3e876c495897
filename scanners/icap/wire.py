"""One connection to an ICAP server.

Rules of this file: what comes is taken apart at once, also while we send, so that neither side ever waits for the
other to read; nothing is kept but one buffer; one talk at a time, never a second before the first is over; time is
bounded by the caller.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from scanners.connection import Address, connect
from scanners.icap.talks import Talk

READ = 64 * 1024
"""Bytes that are taken in at a time."""


class Connection(asyncio.BufferedProtocol):
    """Made by `open_connection`. `talks` counts those that were had; `lost` is set when nothing more can be said."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(READ))
        self._transport: asyncio.Transport | None = None
        self._talk: Talk | None = None
        self._changed = asyncio.Event()
        self._flushed = True
        self.lost = False
        self.talks = 0

    def __repr__(self) -> str:
        state = "lost" if self.lost else "busy" if self._talk is not None else "idle"
        return f"<Connection {state}, talks: {self.talks}>"

    def begin(self, talk: Talk) -> None:
        """From now on what comes belongs to this talk."""
        self._talk = talk
        self.talks += 1
        if self.lost:
            talk.end("the connection ended")

    def finish(self) -> bool:
        """The talk is over; whether the connection may be used for another one. If not, it is closed."""
        talk, self._talk = self._talk, None
        if talk is not None and talk.reusable and not self.lost:
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Closes the socket at once, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    async def send(self, data: bytes) -> None:
        """Returns once everything has left this process, or the talk is over and it does not matter any more."""
        talk = self._talk
        if self._transport is None or talk is None or talk.over:
            return
        self._transport.write(data)
        await self.wait(lambda: self._flushed or talk.over)

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds; it is looked at whenever something was received, flushed or lost."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    # -- what asyncio calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (what create_connection makes)
        self._transport = transport
        # No buffer of its own: `send` returns when the system has taken everything, and memory stays flat. asyncio's
        # TLS pauses at `high` itself, above which others pause: at 0 it would never go on.
        high = 0 if transport.get_extra_info("sslcontext") is None else 1
        transport.set_write_buffer_limits(high=high, low=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._talk is None:
            # Nobody asked: whatever came would be taken for the answer to the next question.
            self._lose("the connection was spoilt")
        elif not self._talk.over:
            self._talk.feed(bytes(self._buffer[:nbytes]), flushed=self._flushed)
        self._changed.set()

    def eof_received(self) -> bool:
        self._lose("the connection ended")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the connection broke" if exc else "the connection ended")

    def pause_writing(self) -> None:
        self._flushed = False

    def resume_writing(self) -> None:
        self._flushed = True
        self._changed.set()

    def _lose(self, why: str) -> None:
        self.lost = True
        if self._talk is not None:
            self._talk.end(why)
        self._changed.set()
        self.abort()


async def open_connection(address: Address, tls: ssl.SSLContext | None) -> Connection:
    """A new connection. OSError where there is none to be had, also for a certificate that does not hold."""
    sock = await connect(address)
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, sock=sock, ssl=tls, server_hostname=name_host(address) if tls else None
        )
    except BaseException:
        sock.close()
        raise
    return connection


def name_host(address: Address) -> str:
    """Whom the server's certificate must name."""
    return address.host or "localhost"
