"""One endpoint: an engine behind its proof and its slots.

Rules of this file: nothing is asked without a standing proof for an object of that size; a proof that falls
makes the endpoint `error` at once and until it stands again; slots are handed out in order; the deadline of
a check is the caller's, that of a proof is `timeout`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from policy.verdict import Status
from scanners.engine import Answer, Body, Engine
from scanners.proof import Proof

_log = logging.getLogger("avsluice.scanners")

QUEUE_LIMIT = 10_000
"""Checks that may wait for a slot; more is `error` at once."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an endpoint is used: bytes, seconds, checks at a time; `canary` None: no repeated proof."""

    max_checked_size: int
    timeout: float
    canary: float | None
    concurrency: int


class Endpoint:
    """Asks one engine and keeps its proof. `variants` are tried in order; the first that is proven serves."""

    def __init__(self, variants: Sequence[Engine], terms: Terms) -> None:
        self._variants = tuple(variants)
        self._terms = terms
        self._slots = asyncio.Semaphore(terms.concurrency)
        self._proof: Proof | None = None
        self._failure = "not proven yet"
        self._failures = 0
        self._falls = 0
        self._doubts = 0
        self._settled = 0
        self._waiting = 0
        self.in_flight = 0
        self.quiet = False
        """Whether failures are nobody's concern yet: `auto` tries places where nothing need be."""
        self._turns = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = f"proven to {self._proof.seen}" if self._proof else f"failed: {self._failure}"
        return f"<Endpoint {self.engine} {state}, {self.in_flight} in flight, {self._waiting} waiting>"

    @property
    def engine(self) -> Engine:
        """The proven variant, or the first."""
        return self._proof.engine if self._proof else self._variants[0]

    @property
    def proven(self) -> bool:
        """Whether a proof stands."""
        return self._proof is not None and not self._doubted

    @property
    def _doubted(self) -> bool:
        return self._doubts != self._settled

    @property
    def failure(self) -> str:
        """Why no proof stands; "" where one does."""
        return "" if self._proof else self._failure

    @property
    def limit(self) -> int | None:
        """The largest size in bytes that is known to be scanned, or None without a proof."""
        return self._proof.seen if self._proof else None

    @property
    def version(self) -> str:
        """The engine's version as of its proof."""
        return self._proof.version if self._proof else ""

    async def start(self) -> None:
        """Returns after the first attempt to prove the engine, good or bad; keeps proving until `close`."""
        # Held here until close() ends and awaits it.
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        while not self._turns:
            await self._changed.wait()

    async def close(self) -> None:
        """Ends the proving and lets go of the engines."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        self._proof, self._failure = None, "the engine was closed"
        self._tell()
        for engine in self._variants:
            await engine.close()

    def skips(self, size: int) -> bool:
        """Whether the engine is known not to scan an object of that size."""
        return self._proof is not None and self._proof.unseen is not None and size >= self._proof.unseen

    def doubt(self) -> None:
        """Something went wrong: no more questions before another canary was found."""
        self._doubts += 1
        self._wake.set()

    async def ask(self, body: Body) -> Answer:
        """The engine's answer, once its proof stands and a slot is free. Never raises but for
        cancellation."""
        while True:
            if (refusal := await self._admit(body.size)) is not None:
                return refusal
            if self._waiting >= QUEUE_LIMIT:
                return Answer(Status.ERROR, detail="overloaded: too many checks wait for the engine")
            async with self._slot():
                if (proof := self._standing(body.size)) is not None:
                    return await self._ask_now(proof, body)

    async def _ask_now(self, proof: Proof, body: Body) -> Answer:
        falls = self._falls
        try:
            answer = await proof.engine.ask(body)
        except Exception as crash:
            _log.exception("%s: the adapter failed", proof.engine)
            answer = Answer(Status.ERROR, detail=f"the adapter failed: {crash!r}")
        if answer.status is Status.ERROR:
            self.doubt()
        if answer.status is Status.FREE and self._falls != falls:
            return Answer(Status.ERROR, detail=f"during the check the engine lost its proof: {self._failure}")
        return answer

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._slots.release()

    def _standing(self, size: int) -> Proof | None:
        return self._proof if self._proof and not self._doubted and size <= self._proof.seen else None

    async def _admit(self, size: int) -> Answer | None:
        """None once an object of that size may be asked about; else what to answer instead."""
        begun = self._turns
        while True:
            if self.skips(size):
                return Answer(Status.SKIPPED, detail=f"larger than the {self.limit} bytes the engine scans")
            if self._standing(size) is not None:
                return None
            if self._keeper is None:
                return Answer(Status.ERROR, detail=self._failure)
            if self._proof is not None and self._proof.trouble and size > self._proof.seen:
                return Answer(Status.ERROR, detail=self._proof.trouble)
            if self._proof is None:
                if self._turns > begun:
                    return Answer(Status.ERROR, detail=self._failure)
                self._wake.set()
            await self._changed.wait()

    # -- the keeper ------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            await self._take_turn()
            await self._find_limit()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float | None:
        """Seconds until the next turn; None: until something happens."""
        usual = self._terms.canary
        if self._proof is None or self._proof.trouble:
            retry = min(_FIRST_PAUSE * 2.0 ** min(self._failures, 10), _LONGEST_PAUSE)
            return retry if usual is None else min(retry, usual)
        return usual

    async def _take_turn(self) -> None:
        """One attempt to prove the engine, within `timeout`. Whatever happens, the state says so
        afterwards."""
        doubts = self._doubts
        try:
            async with asyncio.timeout(self._terms.timeout):
                failure = await self._prove()
        except TimeoutError:
            failure = f"no proof within {self._terms.timeout:g} s"
        except Exception as crash:
            _log.exception("%s: the proof failed", self.engine)
            failure = f"the proof failed: {crash!r}"
        if failure:
            self._fall(failure)
        self._settled = doubts
        self._turns += 1
        self._tell()

    def _fall(self, failure: str) -> None:
        if self._proof is not None or not self._failures or failure != self._failure:
            level = logging.DEBUG if self.quiet else logging.WARNING
            _log.log(level, "%s cannot be used: %s", self.engine, failure)
        self._failure = failure
        self._failures += 1
        self._falls += self._proof is not None
        self._proof = None

    async def _prove(self) -> str:
        """Returns why no variant can be believed; "" once one can."""
        if (proof := self._proof) is not None and await proof.engine.version() == proof.version:
            return await proof.show_canary()
        failures: list[str] = []
        for engine in self._variants:
            fresh = Proof(engine, self._terms.max_checked_size)
            if not (failure := await fresh.show()):
                self._stand(fresh, failures)
                return ""
            failures.append(f"{engine}: {failure}")
        return "; ".join(failures)

    def _stand(self, proof: Proof, failures: Sequence[str]) -> None:
        for failure in failures:
            _log.warning("%s; %s is used instead", failure, proof.engine)
        _log.info("%s finds EICAR; %s", proof.engine, proof.version or "it tells no version")
        self._proof, self._failures = proof, 0
        if proof.complete:
            self._tell_limit(proof)

    async def _find_limit(self) -> None:
        """The rest of the limit probe, given up for a canary where one is wanted."""
        proof = self._proof
        if proof is None or proof.complete:
            return
        try:
            more = True
            while more and not self._doubted:
                async with asyncio.timeout(self._terms.timeout):
                    more = await proof.show_more()
                self._tell()
        except TimeoutError:
            proof.trouble = f"no answer to the limit probe within {self._terms.timeout:g} s"
        except Exception as crash:
            _log.exception("%s: the limit probe failed", proof.engine)
            proof.trouble = f"the limit probe failed: {crash!r}"
        if proof.complete:
            self._tell_limit(proof)
        elif proof.trouble:
            self._failures += 1
            _log.warning("%s: %s; larger objects are `error`", proof.engine, proof.trouble)
        self._tell()

    def _tell_limit(self, proof: Proof) -> None:
        if proof.seen < proof.most:
            limits = f"{proof.seen} bytes at most, max-checked-size is {proof.most}"
            advice = f"larger ones are `skipped`. Raise {proof.engine.limit_setting}"
            _log.warning("%s scans objects of %s: %s", proof.engine, limits, advice)

    def _tell(self) -> None:
        """Wakes whoever waits for a change of state."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
