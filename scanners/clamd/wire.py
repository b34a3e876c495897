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
from typing import Any, Protocol

from scanners.clamd.replies import REPLY_LIMIT, TIMED_OUT, Exchange
from scanners.engine import Body

CHUNK = 256 * 1024
_LENGTH_BYTES = 4
_END_OF_STREAM = bytes(_LENGTH_BYTES)
_BACKLOG_PAUSE = (0.001, 0.05)


class Address(Protocol):
    """Where clamd listens; `policy.address.Address` is one."""

    @property
    def unix(self) -> str | None:
        """The socket's path, or None for TCP."""

    @property
    def host(self) -> str:
        """Name or IP address."""

    @property
    def port(self) -> int:
        """TCP port."""


async def send_command(address: Address, command: bytes) -> Exchange:
    """A command without data, e.g. b"VERSION"."""
    with contextlib.closing(await _connect(address)) as sock:
        delivered = await _send(sock, b"z" + command + b"\0")
        return await _listen(sock, delivered=delivered)


async def send_descriptor(address: Address, body: Body) -> Exchange:
    """FILDES: passes the body's descriptor; Unix sockets only. OSError also where the body has none to
    give."""
    with contextlib.closing(await _connect(address)) as sock:
        descriptor = body.descriptor()
        try:
            # The descriptor rides on the byte behind the command: clamd reads both in one go.
            socket.send_fds(sock, [b"zFILDES\0\0"], [descriptor])
        finally:
            os.close(descriptor)
        return await _listen(sock, delivered=True)


async def send_stream(address: Address, body: Body) -> Exchange:
    """INSTREAM: the body in chunks. clamd may refuse half-way, so it is listened to while we send."""
    with contextlib.closing(await _connect(address)) as sock:
        # This task never outlives the call: it is awaited below, or ended and awaited.
        listening = asyncio.get_running_loop().create_task(_listen(sock, delivered=True))
        try:
            # Once clamd has ended the connection nobody takes our bytes: wakes a sender that waits for room.
            listening.add_done_callback(lambda _: _stop_sending(sock))
            delivered = await _send_chunks(sock, body)
            heard = await listening
            return Exchange(heard.reply, delivered=delivered, ended=heard.ended)
        finally:
            listening.cancel()
            await asyncio.wait([listening])


async def _send_chunks(sock: socket.socket, body: Body) -> bool:
    pending, offset = b"zINSTREAM\0", 0
    while offset < body.size:
        part = body.read(offset, CHUNK)
        if not part:
            raise OSError(f"the object ended after {offset} of {body.size} bytes")
        offset += len(part)
        tail = _END_OF_STREAM if offset == body.size else b""
        if not await _send(sock, b"".join((pending, len(part).to_bytes(_LENGTH_BYTES), part, tail))):
            return False
        pending = b""
    return not pending or await _send(sock, pending + _END_OF_STREAM)


async def _send(sock: socket.socket, data: bytes) -> bool:
    """False once the peer takes no more. What it said before is still there to be read."""
    try:
        await asyncio.get_running_loop().sock_sendall(sock, data)
    except OSError:
        return False
    return True


def _stop_sending(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


async def _listen(sock: socket.socket, *, delivered: bool) -> Exchange:
    loop = asyncio.get_running_loop()
    reply = b""
    while len(reply) <= REPLY_LIMIT and not reply.endswith(TIMED_OUT):
        try:
            part = await loop.sock_recv(sock, REPLY_LIMIT)
        except OSError:
            break
        if not part:
            return Exchange(reply, delivered=delivered)
        reply += part
    return Exchange(reply, delivered=delivered, ended=False)


async def _connect(address: Address) -> socket.socket:
    if address.unix is not None:
        return await _connect_unix(address.unix)
    failure: OSError = ConnectionError(f"no address for {address.host}")
    for family, kind, proto, _, where in await _resolve(address.host, address.port):
        try:
            return await _connect_tcp(socket.socket(family, kind, proto), where)
        except OSError as why:
            failure = why
    raise failure


async def _connect_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    pause, longest = _BACKLOG_PAUSE
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # The backlog is full: EAGAIN, which asyncio takes for "under way" and so for success.
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def _connect_tcp(sock: socket.socket, where: tuple[Any, ...]) -> socket.socket:
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


type _Resolved = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


async def _resolve(host: str, port: int) -> _Resolved:
    try:
        # Addresses given as numbers, the usual case, need no thread.
        return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
    except socket.gaierror:
        return [*await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)]
