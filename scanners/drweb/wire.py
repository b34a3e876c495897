"""One request to drwebd over one connection, on bare non-blocking sockets.

Rules of this file: a connection a request; every socket is closed before a call returns or is cancelled; time is
bounded by the caller; OSError means that no connection could be had, or that our own object cannot be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator

from scanners.connection import Address, connect, send, stop_sending
from scanners.drweb.replies import Exchange, Incoming, Reply, request_bytes, request_path, scan_reply
from scanners.engine import Body

CHUNK = 256 * 1024

END_WITHIN = 0.25
"""Seconds in which whatever follows a complete reply is waited for. Nobody wrote down whether drwebd ends the
connection itself; one that keeps it open costs this time, and is believed."""


async def scan_bytes(address: Address, body: Body) -> Exchange[Reply]:
    """The body is sent. It may be answered half-way, so we listen while we send."""
    return await converse(address, Incoming(scan_reply()), _parts(body))


async def scan_path(address: Address, path: bytes) -> Exchange[Reply]:
    """The daemon opens the file itself."""
    return await converse(address, Incoming(scan_reply()), [request_path(path)])


async def converse[T](address: Address, incoming: Incoming[T], parts: Iterable[bytes]) -> Exchange[T]:
    """Sends the parts of one request and hears one reply."""
    with contextlib.closing(await connect(address)) as sock:
        loop = asyncio.get_running_loop()
        # These tasks never outlive the call: they are ended and awaited below.
        listening = loop.create_task(_listen(sock, incoming))
        sending = loop.create_task(_send_all(sock, parts))
        try:
            await asyncio.wait([listening, sending], return_when=asyncio.FIRST_COMPLETED)
            delivered = sending.done() and sending.result()
            await listening
            # Once it has spoken nobody need take our bytes, and a sender that waits for room would wait on: nothing
            # but its end wakes one on a Unix socket.
            sending.cancel()
            stop_sending(sock)
            ended = await _await_end(sock, incoming)
            return Exchange(incoming.reply, incoming.problem, delivered, incoming.surplus, ended)
        finally:
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)


async def _send_all(sock: socket.socket, parts: Iterable[bytes]) -> bool:
    """Whether all was taken."""
    for part in parts:
        if not await send(sock, part):
            return False
    return True


def _parts(body: Body) -> Iterator[bytes]:
    pending, offset = request_bytes(body.size), 0
    while offset < body.size:
        part = body.read(offset, CHUNK)
        if not part:
            raise OSError(f"the object ended after {offset} of {body.size} bytes")
        offset += len(part)
        yield pending + part
        pending = b""
    if pending:
        yield pending


async def _listen[T](sock: socket.socket, incoming: Incoming[T]) -> None:
    """Until the reply is whole, senseless, or broken off."""
    while not incoming.done:
        try:
            part = await asyncio.get_running_loop().sock_recv(sock, CHUNK)
        except OSError:
            part = b""
        if part:
            incoming.feed(part)
        else:
            incoming.end()


async def _await_end[T](sock: socket.socket, incoming: Incoming[T]) -> bool:
    """Hears what follows a whole reply; False where that is a reset: the daemon threw away what we sent."""
    if incoming.reply is None or incoming.surplus:
        return True
    try:
        async with asyncio.timeout(END_WITHIN):
            incoming.feed(await asyncio.get_running_loop().sock_recv(sock, 1))
    except TimeoutError:
        return True
    except OSError:
        return False
    return True
