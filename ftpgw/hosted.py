"""An ftp-proxy as a process hosts it.

Rules of this file: what is in force serves what begins, what has begun ends under what it began with; addresses, TLS
towards clients and limits of connections are those of the start; `drain` lets nothing new begin.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ftpgw.front import Front
from ftpgw.gateway import FtpGateway
from ftpgw.session import Session
from ftpgw.tls import open_client_context
from ftpgw.wire import make_reply
from inspection.audit import AuditLog
from inspection.host import CannotServe, warn_of_fixed
from inspection.policy_in_force import Loaded, PolicyInForce
from policy.load import PolicyError, load
from policy.model import FtpProxy

logger = logging.getLogger(__name__)


class FtpHosted:
    """`name` is the proxy's in the policy `file`; records go to `default_audit` where the policy does not say."""

    fixed = ("listen", "user", "tls", "transparent")

    def __init__(self, file: Path, name: str, default_audit: str = "stdout") -> None:
        self.label = f"ftp-proxy.{name}"
        self._file, self._name = file, name
        self._in_force: PolicyInForce[FtpGateway] = PolicyInForce(lambda _gateway: None, default_audit)
        self._loaded: Loaded[FtpGateway] | None = None
        self._section: FtpProxy | None = None
        self._begun_with: FtpProxy | None = None
        self._fronts: list[Front] = []
        self._clients: Counter[str] = Counter()
        self._cutting = asyncio.Event()
        self.client_context: ssl.SSLContext | None = None

    @property
    def section(self) -> FtpProxy:
        """What `read` found last, and what was fixed at the start as it was then."""
        if self._section is None:
            raise RuntimeError("nothing was read yet")
        return self._section

    @property
    def gateway(self) -> FtpGateway:
        """The one in force."""
        if self._in_force.gateway is None:
            raise RuntimeError("no policy is in force")
        return self._in_force.gateway

    def read(self) -> None:
        """Load the policy file. Raises PolicyError, LookupError or CannotServe, and changes nothing then."""
        policy = load(self._file)
        proxy = policy.ftp_proxy.get(self._name)
        if proxy is None or not proxy.enabled:
            raise LookupError(f"no enabled {self.label} is in {self._file}")
        if proxy.listen.unix is not None or any(server.unix is not None for server in proxy.server or ()):
            raise CannotServe(f"{self.label}: FTP listens on and reaches host:port only")
        try:
            context = open_client_context(proxy.tls)
        except (OSError, ssl.SSLError) as error:
            raise CannotServe(f"{self.label}: certificate and key are of no use: {error}") from error

        def make(audit: AuditLog) -> FtpGateway:
            return FtpGateway(policy, self._name, proxy, audit)

        self._loaded = Loaded(self._file.absolute(), policy, make)
        if self._begun_with is None:
            self._section, self.client_context = proxy, context
            return
        warn_of_fixed(self.label, self._begun_with, proxy, self.fixed)
        self._section = proxy.model_copy(update={key: getattr(self._begun_with, key) for key in self.fixed})

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Put what was read in force, then accept on these bound sockets. What goes wrong is raised."""
        if self._loaded is None or self._section is None:
            raise RuntimeError("nothing was read yet")
        self._begun_with = self._section
        await self._put(self._loaded)
        if self._in_force.gateway is None:
            raise CannotServe(f"{self.label}: the policy could not be put in force")
        for sock in sockets:
            front = Front(self, self._clients)
            await front.listen(sock)
            self._fronts.append(front)

    async def _put(self, loaded: Loaded[FtpGateway]) -> None:
        """Until it is in force, or is not; the old one may go on closing."""
        before = self._in_force.gateway
        task = self._in_force.put(loaded)
        while not task.done() and self._in_force.gateway is before:
            await asyncio.wait([task], timeout=0.05)

    async def reload(self) -> None:
        """Read again and put in force. What is broken is logged, and the old stays."""
        try:
            self.read()
        except (PolicyError, LookupError, CannotServe) as error:
            logger.error("%s: the policy stays as it was: %s", self.label, error)
            return
        if self._loaded is not None:
            before = self._in_force.gateway
            await self._put(self._loaded)
            if self._in_force.gateway is not before:
                logger.info("%s: the new policy is in force", self.label)

    async def drain(self, patience: float) -> None:
        """Stop accepting; transfers under way may end for `patience` seconds, then they are cut."""
        for front in self._fronts:
            front.stop_accepting()
        for session in self._sessions:
            session.is_last = True
            if not session.busy.locked():
                _dismiss(session)
        try:
            async with asyncio.timeout(patience):
                while any(session.busy.locked() for session in self._sessions) and not self._cutting.is_set():
                    await _either(self._cutting, 0.05)
        except TimeoutError:
            pass
        self.cut()

    @property
    def _sessions(self) -> list[Session]:
        return [session for front in self._fronts for session in front.sessions]

    def cut(self) -> None:
        """What is under way ends now, visibly."""
        self._cutting.set()
        self._in_force.cut()
        for session in self._sessions:
            _dismiss(session)

    async def close(self) -> None:
        """Everything is let go, all records are written."""
        self.cut()
        for front in self._fronts:
            await front.close()
        self._in_force.close()


def _dismiss(session: Session) -> None:
    if not session.is_gone:
        session.reply(make_reply(421, "The gateway is stopping, goodbye."))
        session.close()


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
