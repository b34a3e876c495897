"""The thin socket place of the mail gateways: octets in, octets out, TLS, time-outs.

Rules of this file: no protocol; every wait has an end; what is not asked for is not read (back-pressure both ways);
nothing that came in the clear is there behind a STARTTLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

_HIGH = 256 * 1024  # octets that wait unread until the peer is held back


class PeerGone(ConnectionError):
    """The peer has closed, or the connection broke (remote fault, temporary)."""


class PeerSilent(TimeoutError):
    """The peer neither sent nor took an octet within its time (remote fault, temporary)."""


class StartTlsFault(PeerGone):
    """Octets came in the clear behind STARTTLS, or no TLS could be agreed on."""


class Channel(asyncio.Protocol):
    """One connection. Read `inbox`, take what you understand off its front, and ask for `more`.

    `held`: nothing is read until TLS stands. `disturbed` is called when octets or an end come while nobody waits."""

    def __init__(self, *, held: bool = False, made: Callable[[Channel], None] | None = None) -> None:
        self.inbox = bytearray()
        self.eof = False
        self.lost = False
        self.secure = False
        self.disturbed: Callable[[], None] | None = None
        self._held, self._made = held, made
        self._transport: asyncio.Transport | None = None
        self._news, self._ended, self._writable = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._closed = asyncio.Event()
        self._writable.set()
        self._waiting = False

    def __repr__(self) -> str:
        state = "lost" if self.lost else "eof" if self.eof else "open"
        return f"<Channel {state}, {len(self.inbox)} unread{', TLS' if self.secure else ''}>"

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is needed")
        self._transport = transport
        self.secure = transport.get_extra_info("ssl_object") is not None
        if self._held:
            transport.pause_reading()
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Octets."""
        self.inbox += data
        if len(self.inbox) > _HIGH and self._transport is not None:
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> bool:
        """The peer sends no more; without TLS it may still read."""
        self.eof = True
        self._ended.set()
        self._tell()
        return not self.secure

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more, either way."""
        self.eof = self.lost = True
        self._ended.set()
        self._closed.set()
        self._writable.set()
        self._tell()

    def pause_writing(self) -> None:
        """The peer takes less than we send."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

    def _tell(self) -> None:
        self._news.set()
        if not self._waiting and self.disturbed is not None:
            self.disturbed()

    # --- for the protocols

    @property
    def peer(self) -> str:
        """The peer's address without its port; "" behind a Unix socket."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if isinstance(name, tuple) else ""

    async def more(self, within: float) -> bool:
        """Wait for octets behind those in `inbox`; False at the end. Raises PeerSilent after `within` seconds."""
        had = len(self.inbox)
        if self.eof:
            return False
        if self._transport is not None:
            self._transport.resume_reading()
        self._news.clear()
        self._waiting = True
        try:
            async with asyncio.timeout(max(within, 0)):
                await self._news.wait()
        except TimeoutError:
            raise PeerSilent("the peer sent nothing") from None
        finally:
            self._waiting = False
        return len(self.inbox) > had

    async def wait_end(self) -> None:
        """Wait until the peer sends no more, however long that takes."""
        await self._ended.wait()

    async def wait_lost(self) -> None:
        """Wait until the connection is no more, however long that takes."""
        await self._closed.wait()

    async def wait_gone(self, is_gone: Callable[[Channel], bool]) -> None:
        """Wait until the peer will hear no answer, however long that takes; `is_gone` is asked once it has ended."""
        await self.wait_end()
        while not is_gone(self):
            await self.wait_lost()

    def write(self, data: bytes) -> None:
        """Send, without waiting; octets to who has gone are dropped."""
        if self._transport is not None and not self.lost and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self, within: float) -> None:
        """Wait until the peer has taken most of what was sent. Raises PeerGone, PeerSilent after `within` seconds."""
        try:
            if not self._writable.is_set():  # a clock of its own for each of a session's answers adds up
                async with asyncio.timeout(within):
                    await self._writable.wait()
        except TimeoutError:
            raise PeerSilent("the peer takes nothing") from None
        if self.lost:
            raise PeerGone("the peer has gone")

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, within: float, hostname: str | None = None
    ) -> None:
        """Speak TLS from here on. Raises StartTlsFault where something came before, or where it fails."""
        if self.inbox or self._transport is None or self.lost:
            raise StartTlsFault("octets in the clear behind STARTTLS" if self.inbox else "the peer has gone")
        loop = asyncio.get_running_loop()
        self.secure = True  # before the first octet: eof_received has another meaning under TLS
        try:
            transport = await loop.start_tls(
                self._transport,
                self,
                context,
                server_side=server_side,
                server_hostname=hostname,
                ssl_handshake_timeout=within,
            )
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            self.abort()
            raise StartTlsFault(f"no TLS: {error}") from error
        if transport is None:
            raise StartTlsFault("the peer has gone")
        self._transport = transport
        transport.resume_reading()

    async def finish(self, within: float) -> None:
        """Send what waits, then close; who takes nothing for `within` seconds is cut off."""
        if self._transport is None or self.lost:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(within):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close once everything is sent; who waits for octets finds the end."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, visibly."""
        if self._transport is not None:
            self._transport.abort()
