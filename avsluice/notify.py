"""What systemd is told of us: sd_notify(3), spoken without its library.

Rules of this file: a datagram is sent or it is not, nothing waits for it; who was not started by systemd tells nobody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping

from inspection.host import Bound, Orders, Witness, show_address

logger = logging.getLogger(__name__)

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Sends to $NOTIFY_SOCKET. `period` is half of the watchdog's time, in seconds; None where there is no watchdog."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.period = _half_of_watchdog(environment) if self._address else None

    def ready(self, status: str) -> None:
        """Begun, or a reload has ended."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The policy is read again; `ready` must follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", "STATUS=transfers under way may end, nobody new comes in")

    def alive(self) -> None:
        """All event loops turn."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as why:
            logger.warning("systemd was not told %s: %s", lines[0], why.strerror or why)


def _half_of_watchdog(environment: Mapping[str, str]) -> float | None:
    whole = environment.get("WATCHDOG_USEC", "")
    for_whom = environment.get("WATCHDOG_PID", "")
    if not whole.isdecimal() or int(whole) == 0 or (for_whom and for_whom != str(os.getpid())):
        return None
    return int(whole) / 2_000_000


class ToldWitness(Witness):
    """For a process that serves alone: prints the ready lines and tells systemd."""

    def __init__(self, notifier: Notifier, gateways: int) -> None:
        self._notifier = notifier
        self._awaited = gateways
        self._said: list[str] = []

    def ready(self, label: str, bound: Bound) -> None:
        """READY once all accept; from then on the watchdog hears of us."""
        super().ready(label, bound)
        self._said.append(say_gateway(label, bound))
        if len(self._said) == self._awaited:
            self._notifier.ready(", ".join(self._said))
            self._watch()

    def attend(self, orders: Orders) -> None:
        """Signals are all that comes from outside."""

    def reloading(self) -> None:
        """RELOADING, until `settled`."""
        self._notifier.reloading()

    def settled(self) -> None:
        """READY again."""
        self._notifier.ready(", ".join(self._said))

    def stopping(self) -> None:
        """STOPPING."""
        self._notifier.stopping()

    def _watch(self) -> None:
        if self._notifier.period is not None:
            self._notifier.alive()
            asyncio.get_running_loop().call_later(self._notifier.period, self._watch)


def say_gateway(label: str, bound: Bound) -> str:
    """For the status line."""
    return " ".join([label, *(show_address(host, port) for host, port in bound)])
