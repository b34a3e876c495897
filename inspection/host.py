"""What a process that hosts gateways and the gateways in it know of each other.

Rules of this file: shapes only, no I/O but the ready line; a host binds, drops privileges and hands bound sockets on;
a gateway never handles signals.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from policy.model.policy import AnyGateway

logger = logging.getLogger(__name__)

type Bound = Sequence[tuple[str, int]]
"""Addresses that are listened on: host, port. A Unix socket's is its path and port 0."""


class CannotServe(ValueError):
    """The policy asks for what this cannot do (local fault, permanent). The text is for the administrator."""


class Hosted(Protocol):
    """One listening gateway; several live in one process, on one event loop.

    The order of calls: `read`, `start`, any number of `reload`, `drain`, `close`. After a `start` that raised comes
    `close`; `cut` may come at any time after `start`, amid `drain` above all.
    """

    label: str
    """As in records, for example `ftp-proxy.FTP`."""

    fixed: Sequence[str]
    """Attributes of the section that a reload does not change, for example ("listen", "user", "tls")."""

    @property
    def section(self) -> AnyGateway:
        """What `read` found last."""

    def read(self) -> None:
        """Load the policy file. Raises PolicyError, LookupError or CannotServe, and changes nothing then."""

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Put what was read in force, engines proven, then accept on these sockets, bound but not listening yet and
        from now on the gateway's to close. What goes wrong is raised."""

    async def reload(self) -> None:
        """Read again and put in force. What is broken is logged, and the old stays; nothing is raised."""

    async def drain(self, patience: float) -> None:
        """Stop accepting; let what is under way end for `patience` seconds, then cut it so that clients see it."""

    def cut(self) -> None:
        """What is under way ends now, visibly; a `drain` that runs returns soon."""

    async def close(self) -> None:
        """Everything is let go, all records are written."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process can be told from outside, by signal or otherwise. `drain` a second time changes nothing."""

    drain: Callable[[], None]
    cut: Callable[[], None]
    reload: Callable[[], None]


class Witness:
    """Is told what becomes of the gateways of a process. This one prints the ready lines."""

    def ready(self, label: str, bound: Bound) -> None:
        """A gateway accepts; once for each."""
        print_ready(label, bound)

    def attend(self, orders: Orders) -> None:
        """The process can take orders from now on; once."""

    def reloading(self) -> None:
        """The policy is read again."""

    def settled(self) -> None:
        """That has ended: a new policy is in force, or the old one stays."""

    def stopping(self) -> None:
        """The end has begun; once."""


def print_ready(label: str, bound: Bound) -> None:
    """Tell on standard error that a gateway accepts."""
    for host, port in bound:
        print(f"ready {label} {show_address(host, port)}", file=sys.stderr, flush=True)


def show_address(host: str, port: int) -> str:
    """As it is written in a policy."""
    if host.startswith("/"):
        return host
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def warn_of_fixed(label: str, begun_with: AnyGateway, now: AnyGateway, fixed: Iterable[str]) -> None:
    """Log each item that was changed in the policy and takes a restart."""
    for name in fixed:
        if getattr(begun_with, name, None) != getattr(now, name, None):
            logger.warning("%s: %s has changed: that needs a restart, until then the old one holds", label, _key(name))


def _key(name: str) -> str:
    return name.replace("_", "-")
