"""One gateway that is visited: where it is, how long it may take, what its policy has in mind, and what was seen.

Rules of this file: only addresses that the policy names are connected to; every question has an end; what a peer says
is made printable before anybody reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from avsluice.passages.passage import Fate, Passage
from inspection.record import visible
from policy.address import Address
from policy.decide import decide_session
from policy.decision import Action, Decision, MailDecision
from policy.facts import SessionFacts
from policy.model import Policy
from policy.model.policy import AnyGateway

CALM = 15.0
"""Seconds for what needs no engine: connecting, a greeting, a login."""

_GOODBYE = 1.0

type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_FATES = {
    Action.ACCEPT: Fate.DELIVERED,
    Action.DENY: Fate.REFUSED,
    Action.CUT: Fate.REFUSED,
    Action.DEFER: Fate.DEFERRED,
    Action.DISCARD: Fate.DISCARDED,
    Action.REPLACE: Fate.REPLACED,
}


class NotTried(Exception):
    """Why an object, or anything at all, could not be sent to the gateway."""


class Visit:
    """To one gateway of the policy. `passages` grow; `under_way` is what a failure is booked on."""

    def __init__(self, policy: Policy, label: str, gateway: AnyGateway) -> None:
        self.policy, self.label, self.gateway = policy, label, gateway
        self.passages: list[Passage] = []
        self.client: str | None = None
        self.under_way = ("everything", False)
        self._began = time.monotonic()
        asked = (policy.antivirus[name].timeout for name in gateway.engine_names())
        self.patience = CALM + max(asked, default=0.0)

    @property
    def address(self) -> str:
        """As the policy has it."""
        return str(self.gateway.listen or "-")

    async def connect(self) -> Streams:
        """A connection to it; NotTried where nobody accepts, or where its session-acl refuses this machine."""
        where = self._find_way()
        try:
            if where.unix is not None:
                streams = await asyncio.open_unix_connection(where.unix)
            else:
                streams = await asyncio.open_connection(where.host, where.port)
        except OSError as why:
            words = os.strerror(why.errno) if why.errno else str(why)
            raise NotTried(f"it is not running: {words}") from why
        name = streams[1].get_extra_info("sockname")
        self.client = name[0] if isinstance(name, tuple) else None
        decision = decide_session(self.gateway, SessionFacts(client=self.client))
        if not decision.passes:
            await close(streams[1])
            raise NotTried(f"session-acl {decision.acl or '(none matches)'} refuses {self.client}")
        return streams

    def _find_way(self) -> Address:
        listen = self.gateway.listen
        if listen is None:
            raise NotTried("the policy has no `listen` for it")
        if listen.unix is None and listen.port == 0:
            raise NotTried("its port is 0: whoever started it knows the real one")
        return listen if listen.unix else Address(host=_ANY.get(listen.host, listen.host), port=listen.port)

    def begin(self, what: str, *, infected: bool) -> None:
        """From now on it is about this object."""
        self.under_way = (what, infected)
        self._began = time.monotonic()

    def end(self, fate: Fate, said: str = "", decision: Decision | None = None, ms: float | None = None) -> Passage:
        """What became of the object that was begun last."""
        what, infected = self.under_way
        passage = Passage(
            gateway=self.label,
            address=self.address,
            what=what,
            infected=infected,
            expected=expect(decision) if decision else None,
            by=decision.acl if decision else None,
            fate=fate,
            ms=(time.monotonic() - self._began) * 1000 if ms is None else ms,
            said=visible(said, 300),
        )
        self.passages.append(passage)
        return passage

    @contextlib.asynccontextmanager
    async def bounded(self, objects: int = 1) -> AsyncIterator[None]:
        """At the end of the block something is booked on what was under way, unless all went well."""
        limit = CALM + objects * self.patience
        try:
            async with asyncio.timeout(limit):
                yield
        except NotTried as why:
            self.end(Fate.NOT_TRIED, str(why), ms=0.0)
        except TimeoutError:
            self.end(Fate.FAILED, f"no answer within {limit:g} s")
        except (OSError, EOFError, ValueError) as why:
            self.end(Fate.FAILED, str(why) or type(why).__name__)


def expect(decision: Decision) -> Fate:
    """What the policy has in mind, as a sender tells it."""
    replaced = isinstance(decision, MailDecision) and any(d.action is Action.REPLACE for d in decision.documents)
    return Fate.REPLACED if replaced and decision.passes else _FATES[decision.action]


@contextlib.asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Closes it after the block, whatever happens; a peer that does not let go is left behind."""
    try:
        yield
    finally:
        await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    """Within a second, so that nothing of it outlives the loop."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE):
            await writer.wait_closed()
    writer.transport.abort()
