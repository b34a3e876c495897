"""The keeper of an endpoint's proof: makes it, repeats it, tells when it falls.

Rules of this file: whatever happens, the state says so afterwards; one attempt at a time, each within `timeout`;
an engine that fails is left alone as its breaker says, and what is asked meanwhile is refused at once; the version
and the database are looked at every few seconds, so that no verdict outlives what it was made with.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from policy.verdict import Status
from scanners.breaker import LONGEST, Breaker
from scanners.engine import Answer, Engine
from scanners.proof import Proof

_log = logging.getLogger("avsluice.scanners")

POLL = 10.0
"""Seconds between two looks at the engine's version and database."""

SETTLE = 600.0
"""Seconds after a change of the database in which nothing is remembered, but that the version tells of a reload: clamd
may run on the old one until it looks (SelfCheck), and signatures that are not ClamAV's own leave its version alone."""

_MOMENT = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an endpoint is used: bytes, seconds, checks at a time; `canary` None: no repeated proof."""

    max_checked_size: int
    timeout: float
    canary: float | None
    concurrency: int


@runtime_checkable
class Stamped(Protocol):
    """An engine that can tell more of its signatures than its version does. It need not: most cannot."""

    async def stamp(self) -> str:
        """Changes with the database; "" where that cannot be seen. Never raises."""


class Keeper:
    """Keeps the proof of one endpoint. `variants` are tried in order; the first that is proven serves."""

    def __init__(self, variants: Sequence[Engine], terms: Terms) -> None:
        self.variants = tuple(variants)
        self.terms = terms
        self.proof: Proof | None = None
        self.failure = "not proven yet"
        self.breaker = Breaker()
        self.falls = 0
        self.quiet = False
        self.on_fall: Callable[[], None] | None = None
        self.doubted = False
        self._doubts = 0
        self._turns = 0
        self._probe_failures = 0
        self._stamp = ""
        self._edition = ""
        self._settled_at = 0.0
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine:
        """The proven variant, or the first."""
        return self.proof.engine if self.proof else self.variants[0]

    @property
    def edition(self) -> str:
        """What a verdict of now is made with: protocol, version and, where it can be seen, the database. "" where
        nobody can tell (no version, no proof, a database just changed): such a verdict cannot be kept."""
        if self._settled_at and asyncio.get_running_loop().time() < self._settled_at:
            return ""
        return self._edition

    def is_open(self) -> bool:
        """Whether the engine is left alone for now."""
        return self.breaker.tripped and self.breaker.is_open(asyncio.get_running_loop().time())

    def standing(self, size: int) -> Proof | None:
        """The proof, if it stands for an object of that size."""
        proof = self.proof
        return proof if proof is not None and not self.doubted and size <= proof.seen else None

    def skips(self, size: int) -> bool:
        """Whether the engine is known not to scan an object of that size."""
        return self.proof is not None and self.proof.unseen is not None and size >= self.proof.unseen

    async def start(self) -> None:
        """Returns after the first attempt to prove the engine, good or bad; keeps proving until `close`."""
        # Held here until close() ends and awaits it.
        self._task = asyncio.get_running_loop().create_task(self._keep())
        while not self._turns:
            await self._changed.wait()

    async def close(self) -> None:
        """Ends the proving and lets go of the engines."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self.proof, self.failure, self._edition = None, "the engine was closed", ""
        self._tell()
        for engine in self.variants:
            await engine.close()

    def doubt(self) -> None:
        """Something went wrong: no more questions before another canary was found."""
        self._doubts += 1
        self.doubted = True
        self._wake.set()

    async def admit(self, size: int) -> Answer | None:
        """None once an object of that size may be asked about; else what to answer instead."""
        begun = self._turns
        while self.standing(size) is None:
            if (refusal := self._refuse(size)) is not None:
                return refusal
            if self.proof is None:
                if self._turns > begun:
                    return Answer(Status.ERROR, detail=self.failure)
                self._wake.set()
            await self._changed.wait()
        return None

    def _refuse(self, size: int) -> Answer | None:
        """What can be said without waiting."""
        proof = self.proof
        if self.skips(size):
            return Answer(Status.SKIPPED, detail=f"larger than the {proof.seen if proof else 0} bytes the engine scans")
        if self._task is None or (proof is None and self.is_open()):
            return Answer(Status.ERROR, detail=self.failure)
        if proof is not None and proof.trouble and size > proof.seen:
            return Answer(Status.ERROR, detail=proof.trouble)
        return None

    # -- the task --------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            await self._take_turn()
            await self._find_limit()
            await self._rest()

    async def _rest(self) -> None:
        """Until the next turn is due, or wanted and allowed."""
        now = asyncio.get_running_loop().time
        pause = self._pause(now())
        due = math.inf if pause is None else now() + pause
        while (left := due - now()) > _MOMENT:
            if self.is_open():
                await asyncio.sleep(left)  # whoever wants a turn is refused
                return
            if self._wake.is_set():
                return
            if not await self._wait_for_wish(min(left, POLL)) and left > POLL:
                await self._look()

    async def _wait_for_wish(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._wake.wait()
        except TimeoutError:
            return False

    def _pause(self, now: float) -> float | None:
        """Seconds until the next turn; None: until something happens."""
        usual = self.terms.canary
        if self.proof is None:
            retry = max(self.breaker.retry_at - now, 0)
        elif self.proof.trouble:
            retry = min(2.0 ** min(self._probe_failures, 5), LONGEST)
        else:
            return usual
        return retry if usual is None else min(retry, usual)

    async def _look(self) -> None:
        """At version and database, between two canaries. What is odd is for the next turn to judge."""
        proof = self.proof
        if proof is None:
            return
        try:
            async with asyncio.timeout(self.terms.timeout):
                moved = await proof.engine.version() != proof.version
                await self._compare_stamp(proof)
        except TimeoutError:
            moved = True
        except Exception:
            _log.exception("%s: the adapter failed", proof.engine)
            moved = True
        if moved:
            self.doubt()

    async def _compare_stamp(self, proof: Proof) -> None:
        """A database that changed is in use some time later, when the version or SETTLE tells."""
        stamp = await _read_stamp(proof.engine)
        if stamp != self._stamp:
            _log.debug("%s: its database changed", proof.engine)
            self._date(proof, stamp)
            self._settled_at = asyncio.get_running_loop().time() + SETTLE

    def _date(self, proof: Proof, stamp: str) -> None:
        self._stamp = stamp
        self._edition = f"{proof.engine.protocol}\n{proof.version}\n{stamp}" if proof.version else ""
        self._settled_at = 0.0

    async def _take_turn(self) -> None:
        """One attempt to prove the engine, within `timeout`."""
        doubts = self._doubts
        try:
            async with asyncio.timeout(self.terms.timeout):
                failure = await self._prove()
        except TimeoutError:
            failure = f"no proof within {self.terms.timeout:g} s"
        except Exception as crash:
            _log.exception("%s: the proof failed", self.engine)
            failure = f"the proof failed: {crash!r}"
        if failure:
            self._fall(failure)
        else:
            self.breaker.succeed()
        self.doubted = self._doubts != doubts
        self._turns += 1
        if not self.doubted:
            self._wake.clear()  # whoever wished for a turn meanwhile had this one
        self._tell()

    def _fall(self, failure: str) -> None:
        if self.proof is not None or not self.breaker.failures or failure != self.failure:
            level = logging.DEBUG if self.quiet else logging.WARNING
            _log.log(level, "%s cannot be used: %s", self.engine, failure)
        self.failure = failure
        self.breaker.fail(asyncio.get_running_loop().time())
        self.falls += self.proof is not None
        self.proof, self._edition = None, ""
        if self.on_fall is not None:
            self.on_fall()

    async def _prove(self) -> str:
        """Returns why no variant can be believed; "" once one can."""
        if (proof := self.proof) is not None and await proof.engine.version() == proof.version:
            await self._compare_stamp(proof)
            return await proof.show_canary()
        failures: list[str] = []
        for engine in self.variants:
            fresh, stamp = Proof(engine, self.terms.max_checked_size), await _read_stamp(engine)
            if not (failure := await fresh.show()):
                self._date(fresh, stamp)
                self._stand(fresh, failures)
                return ""
            failures.append(f"{engine}: {failure}")
        return "; ".join(failures)

    def _stand(self, proof: Proof, failures: Sequence[str]) -> None:
        for failure in failures:
            _log.warning("%s; %s is used instead", failure, proof.engine)
        _log.info("%s finds EICAR; %s", proof.engine, proof.version or "it tells no version")
        self.proof, self._probe_failures = proof, 0
        if proof.complete:
            self._tell_limit(proof)

    async def _find_limit(self) -> None:
        """The rest of the limit probe, given up for a canary where one is wanted."""
        proof = self.proof
        if proof is None or proof.complete:
            return
        try:
            more = True
            while more and not self.doubted:
                async with asyncio.timeout(self.terms.timeout):
                    more = await proof.show_more()
                self._tell()
        except TimeoutError:
            proof.trouble = f"no answer to the limit probe within {self.terms.timeout:g} s"
        except Exception as crash:
            _log.exception("%s: the limit probe failed", proof.engine)
            proof.trouble = f"the limit probe failed: {crash!r}"
        if proof.complete:
            self._tell_limit(proof)
        elif proof.trouble:
            self._probe_failures += 1
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


async def _read_stamp(engine: Engine) -> str:
    return await engine.stamp() if isinstance(engine, Stamped) else ""
