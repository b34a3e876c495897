"""One open data connection, plain or in TLS, towards either peer.

Rules of this file: a peer that does nothing for `stall` seconds is a TimeoutError, any progress begins the time anew;
`close` is the peer's end of file, `abort` is a reset, which no client takes for an end; both may be called twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Protocol

from inspection.spool import Spool

BLOCK = 256 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close(2) sends RST


class DataStream(Protocol):
    """Bytes of one transfer."""

    async def receive(self) -> bytes:
        """Up to BLOCK bytes; b"" at the end. Raises OSError, TimeoutError."""

    async def send(self, data: bytes) -> None:
        """All of it. Raises OSError, TimeoutError."""

    async def send_spool(self, spool: Spool, start: int, stop: int) -> None:
        """That part of a spool."""

    async def close(self) -> None:
        """The end of the file: the peer gets all that was sent."""

    def abort(self) -> None:
        """A reset: what the peer has is no whole file."""


class PlainStream:
    """A raw socket."""

    def __init__(self, sock: socket.socket, stall: float) -> None:
        self._sock = sock
        self._stall = stall
        self._loop = asyncio.get_running_loop()
        self._at_once = 0  # bytes since the loop last had its turn
        sock.setblocking(False)

    async def receive(self) -> bytes:
        if self._at_once > BLOCK:
            self._at_once = 0
            await asyncio.sleep(0)  # a fast peer must not have the loop for itself
        while True:
            try:
                data = self._sock.recv(BLOCK)
            except BlockingIOError:
                self._at_once = 0
                await self._wait(self._loop.add_reader, self._loop.remove_reader)
                continue
            self._at_once += len(data)
            return data  # nothing is awaited behind recv: who is cancelled here has lost no byte

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                sent = self._sock.send(rest[:BLOCK])
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
                continue
            rest = rest[sent:]
            await asyncio.sleep(0)

    async def send_spool(self, spool: Spool, start: int, stop: int) -> None:
        if spool.in_memory:
            await self.send(spool.read(start, stop - start))
            return
        file = spool.descriptor()
        try:
            while start < stop:
                try:
                    sent = os.sendfile(self._sock.fileno(), file, start, min(4 * BLOCK, stop - start))
                except BlockingIOError:
                    await self._wait(self._loop.add_writer, self._loop.remove_writer)
                    continue
                if sent == 0:
                    raise OSError("the spool is shorter than it was")
                start += sent
                await asyncio.sleep(0)
        finally:
            os.close(file)

    async def _wait(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        descriptor = self._sock.fileno()
        if descriptor < 0:
            raise ConnectionAbortedError("the data connection was closed")
        ready: asyncio.Future[None] = self._loop.create_future()
        add(descriptor, _set, ready)
        try:
            async with asyncio.timeout(self._stall):
                await ready
        finally:
            remove(descriptor)

    async def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        if (descriptor := self._sock.fileno()) >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            reset_at_close(self._sock)
        self._sock.close()


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class TlsStream:
    """A connection whose handshake is done."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stall: float) -> None:
        self._reader, self._writer = reader, writer
        self._sock = writer.get_extra_info("socket")  # asked now: a transport that has ended raises
        self._stall = stall

    async def receive(self) -> bytes:
        async with asyncio.timeout(self._stall):
            return await self._reader.read(BLOCK)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._writer.write(rest[:BLOCK])
            rest = rest[BLOCK:]
            async with asyncio.timeout(self._stall):
                await self._writer.drain()

    async def send_spool(self, spool: Spool, start: int, stop: int) -> None:
        for offset in range(start, stop, BLOCK):
            await self.send(spool.read(offset, min(BLOCK, stop - offset)))

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(self._stall):
                await self._writer.wait_closed()
        except (TimeoutError, ssl.SSLError):
            self.abort()  # it has all bytes; that it answers our close_notify is nobody's duty
        except ConnectionError:
            return  # many clients close without listening any more

    def abort(self) -> None:
        if self._sock is not None and self._sock.fileno() >= 0:
            reset_at_close(self._sock)
        self._writer.transport.abort()


def reset_at_close(sock: socket.socket) -> None:
    """What closes it then sends RST."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        return  # it is closed, or was never connected


async def open_stream(
    sock: socket.socket, stall: float, *, tls: ssl.SSLContext | None, server_side: bool, name: str | None = None
) -> DataStream:
    """A stream on a connected socket, after the handshake where there is TLS. The socket is the stream's from now on;
    where this raises (OSError, TimeoutError) it is closed."""
    sock.setblocking(False)
    if tls is None:
        return PlainStream(sock, stall)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=BLOCK, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        async with asyncio.timeout(stall):
            transport = await _shake_hands(loop, protocol, sock, tls, name, server_side=server_side)
    except BaseException:
        sock.close()
        raise
    return TlsStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop), stall)


async def _shake_hands(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.StreamReaderProtocol,
    sock: socket.socket,
    tls: ssl.SSLContext,
    name: str | None,
    *,
    server_side: bool,
) -> asyncio.WriteTransport:
    if server_side:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls)
        return transport
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock, ssl=tls, server_hostname=name or "")
    return transport
