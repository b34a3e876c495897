"""A worker's end of the line to its supervisor.

Rules of this file: one word and its arguments a line, in both directions; nothing here waits; a line that breaks means
that the supervisor is dead, and then so are we, at once but visibly.

The line does what PR_SET_PDEATHSIG would do, and what that cannot: the kernel forgets that signal when a process drops
to another user, and a killed process ends plain transfers in a way that looks to a client like their proper end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

from inspection.host import Bound, Orders, Witness

logger = logging.getLogger(__name__)


class Link(Witness):
    """Tells `ready LABEL HOST PORT ...`, `settled`, and `alive` every `beat` seconds; hears `drain`, `cut`, `reload`.
    Owns the descriptor, which processes that this one starts do not get."""

    def __init__(self, descriptor: int, beat: float = 0.0) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._beat = beat
        self._heard = b""
        self._orders: Orders | None = None

    def ready(self, label: str, bound: Bound) -> None:
        """The supervisor prints it, once for all workers."""
        self._say(" ".join(["ready", label, *(f"{host} {port}" for host, port in bound)]))

    def attend(self, orders: Orders) -> None:
        """Listen from now on."""
        self._orders = orders
        asyncio.get_running_loop().add_reader(self._socket, self._hear)
        self._live()

    def settled(self) -> None:
        """A reload has ended."""
        self._say("settled")

    def _live(self) -> None:
        if self._beat:
            self._say("alive")
            asyncio.get_running_loop().call_later(self._beat, self._live)

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a dead supervisor is noticed by reading
            self._socket.send(line.encode() + b"\n")

    def _hear(self) -> None:
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._mourn()
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        if self._orders is None:
            return
        if line == b"drain":
            self._orders.drain()
        elif line == b"cut":
            self._orders.cut()
        elif line == b"reload":
            self._orders.reload()

    def _mourn(self) -> None:
        logger.error("the supervising process is gone: what is under way is cut")
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._orders is not None:
            self._orders.cut()
