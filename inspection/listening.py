"""Addresses that are bound before anybody accepts there.

Rules of this file: a socket is bound, never told to listen, so nobody is let in yet; nothing stays open where one of
several addresses fails; an address that somebody else has is refused, shared ones too.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack

from inspection.host import CannotServe
from policy.address import Address


def bind_sockets(address: Address, *, shared: bool = False) -> list[socket.socket]:
    """A socket for each address that the name has; port 0 takes one free port for all. `shared`: with others of this
    user who bind it so, too (SO_REUSEPORT). Raises CannotServe, which names the address."""
    try:
        if address.unix is not None:
            return [_bind_unix(address.unix, shared)]
        return _bind_all(address, shared)
    except OSError as why:
        raise CannotServe(f"listen {address}: {why.strerror or why}") from why


def reserve(address: Address) -> list[socket.socket]:
    """Bind for others, who bind it as shared. Nobody else may have it, not even as shared. Raises CannotServe."""
    if address.unix is not None:
        raise CannotServe(f"listen {address}: several workers share a port, not a Unix socket")
    sockets = bind_sockets(address)
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # only now: the binding itself was for us alone
    return sockets


def names(sockets: list[socket.socket]) -> list[tuple[str, int]]:
    """Host and port of each; a path and 0."""
    return [
        (name, 0) if isinstance(name, str) else (name[0], name[1]) for name in map(socket.socket.getsockname, sockets)
    ]


def _bind_all(address: Address, shared: bool) -> list[socket.socket]:
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        port = address.port
        for family, where in _resolve(address.host):
            one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((where, port))
            port = one.getsockname()[1]
            sockets.append(one)
        stack.pop_all()
        return sockets


def _resolve(host: str) -> Iterator[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _kind, _proto, _name, where in dict.fromkeys(found):
        if family in (socket.AF_INET, socket.AF_INET6):
            yield family, str(where[0])


def _bind_unix(path: str, shared: bool) -> socket.socket:
    if shared:
        raise CannotServe(f"listen {path}: several workers share a port, not a Unix socket")
    _remove_stale(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.bind(path)
    except BaseException:
        one.close()
        raise
    return one


def _remove_stale(path: str) -> None:
    """A socket that nobody listens on any more is left over from a crash."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
