"""One endpoint: an engine behind its proof and its slots.

Rules of this file: nothing is asked without a standing proof for an object of that size; a proof that falls
makes the endpoint `error` at once and until it stands again; slots are handed out in order; the deadline of
a check is the caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from policy.verdict import Status
from scanners.engine import Answer, Body, Engine
from scanners.keeper import Keeper, Terms
from scanners.proof import Proof
from scanners.slots import Slots

__all__ = ["QUEUE_LIMIT", "Endpoint", "Terms"]

_log = logging.getLogger("avsluice.scanners")

QUEUE_LIMIT = 10_000
"""Checks that may wait for a slot; more is `error` at once."""


class Endpoint:
    """Asks one engine and keeps its proof. `variants` are tried in order; the first that is proven serves."""

    def __init__(self, variants: Sequence[Engine], terms: Terms) -> None:
        self._keeper = Keeper(variants, terms)
        self._slots = Slots(terms.concurrency)
        self.on_wait: Callable[[float], None] | None = None  # is told the seconds that a check waited for its place

    def __repr__(self) -> str:
        proof = self._keeper.proof
        state = f"proven to {proof.seen}" if proof else f"failed: {self._keeper.failure}"
        return f"<Endpoint {self.engine} {state}, {self.in_flight} in flight, {self._slots.waiting} waiting>"

    @property
    def engine(self) -> Engine:
        """The proven variant, or the first."""
        return self._keeper.engine

    @property
    def proven(self) -> bool:
        """Whether a proof stands."""
        return self._keeper.proof is not None and not self._keeper.doubted

    @property
    def failure(self) -> str:
        """Why no proof stands; "" where one does."""
        return "" if self._keeper.proof else self._keeper.failure

    @property
    def limit(self) -> int | None:
        """The largest size in bytes that is known to be scanned, or None without a proof."""
        return self._keeper.proof.seen if self._keeper.proof else None

    @property
    def version(self) -> str:
        """The engine's version as of its proof."""
        return self._keeper.proof.version if self._keeper.proof else ""

    @property
    def edition(self) -> str:
        """What a verdict of now is made with; "" where a verdict cannot be kept (see `Keeper.edition`)."""
        return self._keeper.edition

    @property
    def in_flight(self) -> int:
        """Checks under way."""
        return self._slots.taken

    @property
    def health(self) -> int:
        """0 proven, 1 in doubt until the next canary, 2 without proof, 3 left alone by the breaker."""
        if self._keeper.proof is None:
            return 3 if self._keeper.is_open() else 2
        return int(self._keeper.doubted)

    @property
    def load(self) -> int:
        """Checks under way and waiting."""
        return self._slots.taken + self._slots.waiting

    def hush(self, *, quiet: bool) -> None:
        """Whether failures are nobody's concern yet: `auto` tries places where nothing need be."""
        self._keeper.quiet = quiet

    def watch(self, on_fall: Callable[[], None] | None) -> None:
        """Calls this whenever the engine fails to prove itself."""
        self._keeper.on_fall = on_fall

    async def start(self) -> None:
        """Returns after the first attempt to prove the engine, good or bad; keeps proving until `close`."""
        await self._keeper.start()

    async def close(self) -> None:
        """Ends the proving and lets go of the engines."""
        await self._keeper.close()

    def skips(self, size: int) -> bool:
        """Whether the engine is known not to scan an object of that size."""
        return self._keeper.skips(size)

    def standing(self, size: int) -> bool:
        """Whether an object of that size could be asked about at once."""
        return self._keeper.standing(size) is not None

    def doubt(self) -> None:
        """Something went wrong: no more questions before another canary was found."""
        self._keeper.doubt()

    async def ask(self, body: Body) -> Answer:
        """The engine's answer, once its proof stands and a slot is free. Never raises but for
        cancellation."""
        keeper, slots = self._keeper, self._slots
        while True:
            if keeper.standing(body.size) is None and (refusal := await keeper.admit(body.size)) is not None:
                return refusal
            if slots.waiting >= QUEUE_LIMIT:
                return Answer(Status.ERROR, detail="overloaded: too many checks wait for the engine")
            if not slots.take_now():
                await self._queue_up()
            elif self.on_wait is not None:
                self.on_wait(0.0)
            try:
                if (proof := keeper.standing(body.size)) is not None:
                    return await self._ask_now(proof, body)
            finally:
                slots.give_back()

    async def _queue_up(self) -> None:
        began = asyncio.get_running_loop().time()
        await self._slots.take()
        if self.on_wait is not None:
            self.on_wait(asyncio.get_running_loop().time() - began)

    async def _ask_now(self, proof: Proof, body: Body) -> Answer:
        falls = self._keeper.falls
        try:
            answer = await proof.engine.ask(body)
        except Exception as crash:
            _log.exception("%s: the adapter failed", proof.engine)
            answer = Answer(Status.ERROR, detail=f"the adapter failed: {crash!r}")
        if answer.status is Status.ERROR:
            self._keeper.doubt()
        if answer.status is Status.FREE and self._keeper.falls != falls:
            lost = f"during the check the engine lost its proof: {self._keeper.failure}"
            return Answer(Status.ERROR, detail=lost)
        return answer
