"""One command to clamd over one connection, on bare non-blocking sockets.

Rules of this file: a connection a command, as clamd itself would have it; every socket is closed before a
call returns or is cancelled; time is bounded by the caller; OSError means that no connection could be had,
whatever happens to a connection later is told in the `Exchange`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from scanners.clamd.replies import REPLY_LIMIT, TIMED_OUT, Exchange, read_version
from scanners.connection import Address, connect, send
from scanners.engine import Body

CHUNK = 256 * 1024
_PIECE = 4096
_LENGTH_BYTES = 4
_END_OF_STREAM = bytes(_LENGTH_BYTES)


async def send_command(address: Address, command: bytes) -> Exchange:
    """A command without data, e.g. b"VERSION"."""
    with contextlib.closing(await connect(address)) as sock:
        delivered = await send(sock, b"z" + command + b"\0")
        return await _listen(sock, delivered=delivered)


async def ask_version(address: Address) -> str:
    """E.g. `ClamAV 1.4.6/27000/Sun Nov 22 ...`; "" where clamd does not tell, or cannot be reached."""
    try:
        said = await send_command(address, b"VERSION")
    except OSError:
        return ""
    return read_version(said.reply)


async def send_descriptor(address: Address, body: Body) -> Exchange:
    """FILDES: passes the body's descriptor; Unix sockets only. OSError also where the body has none to
    give."""
    with contextlib.closing(await connect(address)) as sock:
        descriptor = body.descriptor()
        try:
            # The descriptor rides on the byte behind the command: clamd reads both in one go.
            socket.send_fds(sock, [b"zFILDES\0\0"], [descriptor])
        finally:
            os.close(descriptor)
        return await _listen(sock, delivered=True)


async def send_stream(address: Address, body: Body) -> Exchange:
    """INSTREAM: the body in chunks. clamd may refuse half-way, so it is listened to while we send."""
    with contextlib.closing(await connect(address)) as sock:
        loop = asyncio.get_running_loop()
        # These tasks never outlive the call: they are ended and awaited below.
        listening = loop.create_task(_listen(sock, delivered=True))
        sending = loop.create_task(_send_chunks(sock, body))
        try:
            await asyncio.wait([listening, sending], return_when=asyncio.FIRST_COMPLETED)
            # Once clamd has spoken nobody need take our bytes, and a sender that waits for room would wait on.
            delivered = sending.done() and sending.result()
            heard = await listening
            return Exchange(heard.reply, delivered=delivered, ended=heard.ended)
        finally:
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)


async def _send_chunks(sock: socket.socket, body: Body) -> bool:
    pending, offset = b"zINSTREAM\0", 0
    while offset < body.size:
        part = body.read(offset, CHUNK)
        if not part:
            raise OSError(f"the object ended after {offset} of {body.size} bytes")
        offset += len(part)
        tail = _END_OF_STREAM if offset == body.size else b""
        if not await send(sock, b"".join((pending, len(part).to_bytes(_LENGTH_BYTES), part, tail))):
            return False
        pending = b""
    return not pending or await send(sock, pending + _END_OF_STREAM)


class _Ear:
    """Hears one peer out to the end of its reply. One registration with the loop and one wake-up of the task, where
    `loop.sock_recv` would take one each for every piece: for small objects this is a tenth of a check."""

    __slots__ = ("_heard", "_reply", "_sock")

    def __init__(self, sock: socket.socket, heard: asyncio.Future[tuple[bytes, bool]]) -> None:
        self._sock = sock
        self._heard = heard
        self._reply = b""

    def hear(self) -> None:
        """Called whenever there is something to read. Settles `heard` with the reply and whether it ended in order."""
        reply, recv = self._reply, self._sock.recv
        try:
            while len(reply) <= REPLY_LIMIT and not reply.endswith(TIMED_OUT):
                if not (part := recv(_PIECE)):
                    self._settle(reply, ended=True)
                    return
                reply += part
        except (BlockingIOError, InterruptedError):
            self._reply = reply
        except OSError:
            self._settle(reply, ended=False)
        else:
            self._settle(reply, ended=False)

    def _settle(self, reply: bytes, *, ended: bool) -> None:
        if not self._heard.done():
            self._heard.set_result((reply, ended))


async def _listen(sock: socket.socket, *, delivered: bool) -> Exchange:
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[tuple[bytes, bool]] = loop.create_future()
    loop.add_reader(sock, _Ear(sock, heard).hear)
    try:
        reply, ended = await heard
    finally:
        loop.remove_reader(sock)
    return Exchange(reply, delivered=delivered, ended=ended)
