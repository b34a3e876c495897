"""The process of all gateways but HTTP: one event loop, whose end and reload are theirs, too.

Rules of this file: addresses are bound, then privileges are dropped, then engines are proven, then anybody is let in;
where one gateway cannot begin, none does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import cast

from inspection.host import CannotServe, Hosted, Orders, Witness, warn_of_fixed
from inspection.listening import bind_sockets, names
from inspection.process import allow_many_files, become, log_to_stderr
from policy.address import Address
from policy.load import PolicyError
from policy.model.policy import AnyGateway

logger = logging.getLogger(__name__)

HOSTED = {
    "ftp-proxy": "ftpgw.hosted:FtpHosted",
    "imap4-proxy": "mailgw.imap.gateway:ImapGateway",
    "smtp-proxy": "mailgw.smtp.gateway:SmtpGateway",
    "pop3-proxy": "mailgw.pop3.gateway:Pop3Gateway",
}
"""Kind of gateway -> module:class, for those that are built."""


def open_hosted(file: Path, label: str) -> Hosted:
    """The gateway of that label, not started."""
    kind, _, name = label.partition(".")
    module, _, cls = HOSTED[kind].partition(":")
    make = cast("Callable[[Path, str, str], Hosted]", getattr(import_module(module), cls))
    return make(file, name, "stdout")


async def serve_hosted(
    gateways: Sequence[Hosted], witness: Witness, patience: float, at: Mapping[str, Address] | None = None
) -> int:
    """Serve until a signal or an order ends it; 0. `at`: addresses that other workers share, by label.

    Raises CannotServe where one of them cannot begin; nothing of them runs then."""
    log_to_stderr()
    allow_many_files()
    host = _HostProcess(gateways, witness, patience)
    witness.attend(host.orders)
    host.take_signals()
    try:
        if await host.begins(at or {}):
            await host.until_the_end()
    finally:
        await host.close()
    return 0


class _HostProcess:
    def __init__(self, gateways: Sequence[Hosted], witness: Witness, patience: float) -> None:
        self._gateways = gateways
        self._witness = witness
        self._patience = patience
        self._begun_with: dict[str, AnyGateway] = {}
        self._leaving = asyncio.Event()
        self._hurry = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self.orders = Orders(self._drain, self._cut, self._reload)

    def take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    # --- beginning

    async def begins(self, at: Mapping[str, Address]) -> bool:
        """False where the end was asked for before all could accept: engines that hang are not waited for then."""
        loop = asyncio.get_running_loop()
        beginning, leaving = loop.create_task(self.begin(at)), loop.create_task(self._leaving.wait())
        try:
            await asyncio.wait((beginning, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not beginning.done():
                beginning.cancel()
                await asyncio.wait((beginning,))
        if beginning.cancelled():
            return False
        beginning.result()
        return True

    async def begin(self, at: Mapping[str, Address]) -> None:
        """All accept afterwards, and were announced."""
        with ExitStack() as stack:
            sockets: dict[str, list[socket.socket]] = {}
            for gateway in self._gateways:
                self._read(gateway)
                sockets[gateway.label] = _bind(gateway, at.get(gateway.label))
                for one in sockets[gateway.label]:
                    stack.callback(one.close)  # where another one fails
            self._descend()
            bound = {label: names(there) for label, there in sockets.items()}
            for gateway in self._gateways:
                await self._start(gateway, sockets[gateway.label])
            stack.pop_all()
        for label, where in bound.items():
            self._witness.ready(label, where)

    def _read(self, gateway: Hosted) -> None:
        try:
            gateway.read()
        except (PolicyError, LookupError) as why:
            raise CannotServe(str(why)) from why
        self._begun_with[gateway.label] = gateway.section

    async def _start(self, gateway: Hosted, sockets: Sequence[socket.socket]) -> None:
        try:
            await gateway.start(sockets)
        except Exception as why:
            raise CannotServe(f"{gateway.label}: {_words(why)}") from why

    def _descend(self) -> None:
        user = self._gateways[0].section.user
        if user is None or os.geteuid() != 0:
            return
        try:
            become(user)
        except (KeyError, OSError) as why:
            raise CannotServe(f"user {user}: {why}") from why

    # --- the end

    def _leave(self) -> None:
        if self._leaving.is_set():
            self._cut()
        else:
            self._drain()

    def _drain(self) -> None:
        if not self._leaving.is_set():
            logger.info("no new connections; what is under way has %g s", self._patience)
            self._witness.stopping()
            self._leaving.set()

    def _cut(self) -> None:
        self._hurry = True
        if self._leaving.is_set():
            logger.warning("asked to end at once: what is under way is cut")
            for gateway in self._gateways:
                gateway.cut()
        self._drain()

    async def until_the_end(self) -> None:
        """Wait for the order, then drain all."""
        await self._leaving.wait()
        patience = 0.0 if self._hurry else self._patience
        ends = await asyncio.gather(*(one.drain(patience) for one in self._gateways), return_exceptions=True)
        self._tell_failures("drain", ends)

    async def close(self) -> None:
        """Each of them, whatever becomes of the others."""
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*(one.close() for one in self._gateways), return_exceptions=True)
        self._tell_failures("close", ends)

    def _tell_failures(self, what: str, ends: Sequence[BaseException | None]) -> None:
        for gateway, end in zip(self._gateways, ends, strict=True):
            if end is not None:
                logger.error("%s: %s failed", gateway.label, what, exc_info=end)

    # --- reload

    def _reload(self) -> None:
        if not self._leaving.is_set():
            self._spawn(self._reload_all())

    async def _reload_all(self) -> None:
        async with self._turn:
            self._witness.reloading()
            try:
                for gateway in self._gateways:
                    await gateway.reload()
                    begun_with = self._begun_with[gateway.label]
                    warn_of_fixed(gateway.label, begun_with, gateway.section, gateway.fixed)
            finally:
                self._witness.settled()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Held here until done, so that nobody collects it half-way."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bind(gateway: Hosted, at: Address | None) -> list[socket.socket]:
    listen = at or gateway.section.listen
    if listen is None:
        raise CannotServe(f"{gateway.label}: has no listen")
    try:
        return bind_sockets(listen, shared=at is not None)
    except CannotServe as why:
        raise CannotServe(f"{gateway.label}: {why}") from why


def _words(error: BaseException) -> str:
    """A group says nothing by itself: its members do."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(member) for member in error.exceptions)
    return str(error) or repr(error)
