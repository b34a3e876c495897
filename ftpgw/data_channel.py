"""Where the client's next data connection comes from, or goes to.

Rules of this file: a connection counts only from the control connection's peer, whoever else comes is disconnected and
the listener goes on waiting; a listener serves one connection; PORT reaches the peer alone, and no port below 1024.
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass
from typing import Protocol

from ftpgw.endpoints import plain_ip


class Channel(Protocol):
    """A data connection to be."""

    async def connect(self, patience: float) -> socket.socket:
        """The connected socket, the caller's. Raises OSError, TimeoutError (seconds)."""

    def close(self) -> None:
        """Nobody will connect any more. May be called twice."""


class PassiveChannel:
    """A listener, bound on `local` (an IP address), for one connection from `peer`."""

    def __init__(self, local: str, peer: str, ports: tuple[int, int] | None) -> None:
        self._peer = plain_ip(peer)
        self._listener = _listen(local, ports)

    @property
    def port(self) -> int:
        """Where the client is to connect to."""
        return int(self._listener.getsockname()[1])

    async def connect(self, patience: float) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                while True:
                    sock, address = await loop.sock_accept(self._listener)
                    if plain_ip(address[0]) == self._peer:
                        return sock
                    sock.close()
        finally:
            self.close()

    def close(self) -> None:
        self._listener.close()


@dataclass(frozen=True, slots=True)
class ActiveChannel:
    """The client listens at `host` and `port`; we come from `local`."""

    host: str
    port: int
    local: str

    async def connect(self, patience: float) -> socket.socket:
        sock = socket.socket(_family(self.host), socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            if _family(self.local) == _family(self.host):
                sock.bind((self.local, 0))
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Nothing is open."""


def open_active(host: str, port: int, peer: str, local: str) -> ActiveChannel:
    """Raises ValueError where that is somebody else, or a port of a system's service (FTP bounce, RFC 2577)."""
    if plain_ip(host) != plain_ip(peer):
        raise ValueError("data connections go to your own address only")
    if port < 1024:
        raise ValueError("data connections do not go to ports below 1024")
    return ActiveChannel(plain_ip(host), port, plain_ip(local))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listen(local: str, ports: tuple[int, int] | None) -> socket.socket:
    """Raises OSError where no port is free."""
    host = plain_ip(local)
    first, last = ports or (0, 0)
    start = random.randrange(last - first + 1)  # noqa: S311 - spreads the load; the peer's address is what protects
    for step in range(last - first + 1):
        listener = socket.socket(_family(host), socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind((host, first + (start + step) % (last - first + 1)))
            listener.listen(5)
            return listener
        except OSError as error:
            listener.close()
            trouble = error
    raise OSError(f"no port for a data connection is free: {trouble}")
