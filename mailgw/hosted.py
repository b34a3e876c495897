"""A mail gateway that a process hosts: accepts clients, counts them, reloads, drains.

Rules of this file: it fulfils `inspection.host.Hosted` and knows no protocol; a client over a limit, or refused by
session-acl, is told so and costs no connection to a server; a mail under way at a reload ends under its policy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from inspection.audit import AuditLog, AuditRecord, new_id
from inspection.host import CannotServe
from inspection.policy_in_force import Loaded, PolicyInForce
from mailgw.channel import Channel
from mailgw.site import MailSite
from policy.decide import decide_session
from policy.facts import SessionFacts
from policy.load import load
from policy.model import MailProxy, Policy

logger = logging.getLogger(__name__)

_FAREWELL_WITHIN = 5.0


class Refusal(Enum):
    """Why a client is turned away, and what it is told."""

    NOT_NOW = "not now, try again later"
    CROWDED = "too many connections, try again later"
    FORBIDDEN = "not permitted"


class Session(Protocol):
    """One client."""

    peer: str

    async def run(self) -> None:
        """From the first octet to the last. Never raises but for cancellation."""

    def drain(self) -> None:
        """End now if nothing is under way, else behind it."""

    def close(self) -> None:
        """End at once."""


class MailHosted[P: MailProxy, S: MailSite[Any]](ABC):
    """`file` is the policy's; `name` the gateway's; `default_audit` is where records go where the policy does not
    say."""

    fixed: Sequence[str] = ("listen", "user")
    kind: ClassVar[str]

    def __init__(self, file: Path, name: str, default_audit: str) -> None:
        self.label = f"{self.kind}.{name}"
        self.draining = False
        self._file, self._name = file, name
        self._loaded: tuple[Policy, P] | None = None
        self._in_force: PolicyInForce[S] = PolicyInForce(lambda site: None, default_audit)
        self._servers: list[asyncio.Server] = []
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._refused: set[asyncio.Task[None]] = set()
        self._clients: Counter[str] = Counter()
        self._ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{self.label}, {len(self._sessions)} sessions{', draining' if self.draining else ''}>"

    # --- what a protocol adds

    @abstractmethod
    def list_proxies(self, policy: Policy) -> Mapping[str, P]:
        """The policy's gateways of this kind."""

    @abstractmethod
    def make_site(self, policy: Policy, proxy: P, audit: AuditLog) -> S:
        """May block; is called in a thread."""

    @abstractmethod
    def make_session(self, channel: Channel, site: S, name: str, peer: str) -> Session:
        """A new client's."""

    @abstractmethod
    def write_refusal(self, refusal: Refusal, text: str) -> bytes:
        """What a client reads that is turned away; `text` is the refusal's, with an id where there is a record."""

    # --- Hosted

    @property
    def section(self) -> P:
        """What `read` found last."""
        if self._loaded is None:
            raise LookupError(f"{self.label}: nothing was read yet")
        return self._loaded[1]

    @property
    def site(self) -> S | None:
        """The policy in force."""
        return self._in_force.gateway

    def read(self) -> None:
        """Load the policy file. Raises PolicyError, LookupError or CannotServe, and changes nothing then."""
        policy = load(self._file)
        proxy = self.list_proxies(policy).get(self._name)
        if proxy is None:
            raise LookupError(f"{self._file}: there is no {self.label}")
        for server in proxy.server:
            if server.unix is not None and proxy.server_tls.mode != "none" and proxy.server_tls.verify:
                raise CannotServe(f"{self.label}: server {server}: a Unix socket has no name that TLS could verify")
        self._loaded = policy, proxy

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Put what was read in force, then accept. Raises CannotServe, OSError."""
        await self._put()
        if self.site is None:
            raise CannotServe(f"{self.label}: the policy cannot be put in force")
        loop = asyncio.get_running_loop()
        for listening in sockets:
            make = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await make(self._make_channel, sock=listening, backlog=1024))

    async def reload(self) -> None:
        """Read again and put in force. What is broken is logged, and the old stays."""
        try:
            self.read()
        except (ValueError, LookupError, OSError) as error:
            logger.error("%s: the policy stays as it was: %s", self.label, error)
            return
        await self._put()

    async def drain(self, patience: float) -> None:
        """Stop accepting; sessions may end for `patience` seconds, then they are cut."""
        self.draining = True
        for server in self._servers:
            server.close()
        for session in list(self._sessions):
            session.drain()
        try:
            async with asyncio.timeout(patience):
                while self._sessions:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            self.cut()
        await self._await_sessions()

    def cut(self) -> None:
        """Every session ends now."""
        for session in list(self._sessions):
            session.close()

    async def close(self) -> None:
        """Everything is let go, all records are written."""
        self.draining = True
        for server in self._servers:
            server.close()
        self.cut()
        await self._await_sessions()
        if self.site is not None:
            await self.site.close(patience=0)
        self._in_force.close()

    async def _await_sessions(self) -> None:
        await asyncio.gather(*self._sessions.values(), *self._refused, return_exceptions=True)

    async def _put(self) -> None:
        if self._loaded is None:
            raise LookupError(f"{self.label}: nothing was read yet")
        policy, proxy = self._loaded
        await self._in_force.put(Loaded(self._file.absolute(), policy, partial(self.make_site, policy, proxy)))

    # --- clients

    def _make_channel(self) -> Channel:
        site = self.site
        return Channel(held=site is not None and site.tls is not None and site.implicit_tls, made=self._admit)

    def _admit(self, channel: Channel) -> None:
        """A new connection: begin its session, or tell it why not."""
        site, peer = self.site, channel.peer
        if site is None or self.draining:
            self._turn_away(channel, Refusal.NOT_NOW)
            return
        limits = site.proxy.limits
        if len(self._sessions) >= limits.connections or (peer and self._clients[peer] >= limits.per_client):
            logger.warning("%s: too many connections (%s)", self.label, peer)
            self._turn_away(channel, Refusal.CROWDED)
            return
        name = new_id()
        if not self._ask_session_acl(site, name, peer):
            self._turn_away(channel, Refusal.FORBIDDEN, f", id {name}")
            return
        session = self.make_session(channel, site, name, peer)
        self._clients[peer] += 1
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[session] = task
        task.add_done_callback(lambda _: self._forget(session))

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session, None)
        self._clients[session.peer] -= 1
        if self._clients[session.peer] <= 0:
            del self._clients[session.peer]
        self._ended.set()

    def _turn_away(self, channel: Channel, refusal: Refusal, more: str = "") -> None:
        """Under implicit TLS words in the clear would be noise: there it is just closed."""
        if self.site is None or not self.site.implicit_tls:
            channel.write(self.write_refusal(refusal, refusal.value + more))
        task = asyncio.get_running_loop().create_task(channel.finish(_FAREWELL_WITHIN))
        self._refused.add(task)
        task.add_done_callback(self._refused.discard)

    def _ask_session_acl(self, site: S, session: str, peer: str) -> bool:
        """Whether the client may come in; a refusal is recorded."""
        now = datetime.now().astimezone()
        facts = SessionFacts(client=peer or None, server=str(site.proxy.server[0]), at=now)
        decision = decide_session(site.proxy, facts)
        if decision.passes:
            return True
        record = AuditRecord(
            time=datetime.now(UTC),
            event="mail",
            proxy=self.label,
            session=session,
            id=session,
            client=peer or None,
            acl=decision.acl,
            action=str(decision.action),
            reason=decision.reason,
        )
        site.checkpoint.audit.write(record)
        return False
