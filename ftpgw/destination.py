"""Which server a client is led to.

Rules of this file: it is one of the policy's, or the one in USER behind the last @, or the one that was dialled; what
is not allowed is never asked for, not even its address; without `server-allow` nobody is led back into this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from policy.address import Address
from policy.globs import compile_globs
from policy.model import FtpProxy

FTP = 21
_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST


@dataclass(frozen=True, slots=True)
class Destination:
    """A server by name or address, and the name that it is to be greeted with."""

    host: str
    port: int
    user: str
    guarded: bool = False  # only addresses that are no part of this machine or its link

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == FTP else f"{host}:{self.port}"


class NotAllowed(ValueError):
    """The client asks for a server that it may not have (530). The text is for the client."""


def split_user(argument: str) -> tuple[str, Address]:
    """`name@host[:port]`, split at the last @. Raises NotAllowed."""
    user, at, place = argument.rpartition("@")
    if not at or not user:
        raise NotAllowed("Name the server: USER name@host or name@host:port.")
    try:
        address = Address.parse(place, FTP)
    except ValueError as error:
        raise NotAllowed("What stands behind the @ is no server.") from error
    if address.unix is not None or not 0 < address.port < 65536:
        raise NotAllowed("What stands behind the @ is no server.")
    return user, address


def choose_destinations(proxy: FtpProxy, argument: str, dialled: Address | None) -> list[Destination]:
    """Where to try, in order, for a USER's argument. Raises NotAllowed."""
    if proxy.server:
        return [Destination(server.host, server.port, argument) for server in proxy.server]
    if proxy.transparent:
        if dialled is None:
            raise NotAllowed("This connection was not redirected here: no server is known.")
        return [Destination(dialled.host, dialled.port, argument)]
    user, address = split_user(argument)
    found = Destination(address.host, address.port, user, guarded=proxy.server_allow is None)
    if proxy.server_allow is not None:
        allowed = compile_globs(proxy.server_allow)
        if not allowed(found.host.rstrip(".")) and not allowed(f"{found.host.rstrip('.')}:{found.port}"):
            raise NotAllowed(f"The server {found} is not allowed here.")
    return [found]


async def find_addresses(destination: Destination) -> Sequence[str]:
    """The IP addresses to try. Raises OSError, and NotAllowed where a guarded one leads to this machine."""
    found = await asyncio.get_running_loop().getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if destination.guarded and not all(_is_elsewhere(address) for address in addresses):
        raise NotAllowed(f"The server {destination} is not allowed here.")
    return addresses


def _is_elsewhere(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    inside = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return not inside and not _is_ours(str(address))


def _is_ours(address: str) -> bool:
    """Whether this machine has that address: it can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def find_dialled(sock: socket.socket) -> Address | None:
    """The address that a redirected client dialled; None where nothing was redirected (or it dialled us)."""
    try:
        if sock.family == socket.AF_INET6:
            try:
                raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
                port = struct.unpack_from("!H", raw, 2)[0]
                found = Address(host=str(ipaddress.IPv6Address(raw[8:24])), port=port)
            except OSError:
                found = _dialled_ip4(sock)
        else:
            found = _dialled_ip4(sock)
    except OSError:
        return None
    local = sock.getsockname()
    return None if (found.host, found.port) == (local[0].removeprefix("::ffff:"), local[1]) else found


def _dialled_ip4(sock: socket.socket) -> Address:
    raw = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    return Address(host=str(ipaddress.IPv4Address(raw[4:8])), port=struct.unpack_from("!H", raw, 2)[0])
