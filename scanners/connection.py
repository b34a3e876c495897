"""A connection to an engine, on bare non-blocking sockets.

Rules of this file: time is bounded by the caller; a socket that is not returned is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Protocol

_BACKLOG_PAUSE = (0.001, 0.05)


class Address(Protocol):
    """Where an engine listens; `policy.address.Address` is one."""

    @property
    def unix(self) -> str | None:
        """The socket's path, or None for TCP."""

    @property
    def host(self) -> str:
        """Name or IP address."""

    @property
    def port(self) -> int:
        """TCP port."""


async def connect(address: Address) -> socket.socket:
    """A connected socket, non-blocking; the caller closes it. OSError where no connection can be had.

    A full backlog is waited for; of a name's addresses the first that answers is taken."""
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


async def send(sock: socket.socket, data: bytes) -> bool:
    """False once the peer takes no more. What it said before is still there to be read."""
    try:
        await asyncio.get_running_loop().sock_sendall(sock, data)
    except OSError:
        return False
    return True


def stop_sending(sock: socket.socket) -> None:
    """No more will be sent. Wakes whoever waits for room to send over TCP, but not over a Unix socket. Never raises."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
