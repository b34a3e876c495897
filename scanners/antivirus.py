"""One named antivirus section of the policy, ready to be asked.

Rules of this file: the size gate comes first, then what is remembered; one deadline holds for waiting for others,
queueing, proof, connecting, sending and the answer, retry included; a check ends in a report, never in an exception,
but for cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from policy.verdict import Coverage, ScanReport, Status
from scanners.cache import SectionCache
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.pool import Pool

_log = logging.getLogger("avsluice.scanners")

_ATTEMPTS = 2
_PATIENCE = 0.5
"""The part of `timeout` that a check waits for another one of the same bytes before it asks for itself."""


class RealEngineMissing(ValueError):
    """The policy says `require-real-engine`, and none was proven. The text is for the administrator."""


class Antivirus:
    """What the gateways see of an engine. Made by `scanners.registry.open_antivirus`.

    `timeout` in seconds, `max_checked_size` in bytes. `start` before the first check, `close` after the last.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        *,
        timeout: float,
        max_checked_size: int,
        require_real: bool = False,
        cache: SectionCache | None = None,
    ) -> None:
        self.name = name
        self._pool = pool
        self._timeout = timeout
        self._max_checked_size = max_checked_size
        self._require_real = require_real
        self._cache = cache
        if cache is not None:
            pool.watch(cache.drop)

    def __repr__(self) -> str:
        return f"<Antivirus {self.name} {list(self._pool.endpoints)}>"

    @property
    def protocol(self) -> str:
        """What is really spoken, never `auto`."""
        return self._pool.endpoints[0].engine.protocol

    @property
    def coverage(self) -> Coverage:
        """What the engine can know."""
        return self._pool.coverage

    @property
    def banner(self) -> str | None:
        """What everybody must be told at start, if anything. Known after `start`."""
        return self._pool.banner

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """For health displays; more or fewer than before once `auto` has found a clamd."""
        return self._pool.endpoints

    def observe_waits(self, observe: Callable[[float], None]) -> None:
        """Calls this with the seconds that each check waited for its place at an endpoint."""
        self._pool.observe_waits(observe)

    async def start(self) -> None:
        """Proves the engine, within `timeout`. One that is down does not raise: it is `error`, and proven
        later.

        RealEngineMissing under `require-real-engine` where none was proven; nothing is left running then."""
        try:
            await self._pool.start()
            if self._require_real:
                self._demand_real()
        except BaseException:
            await self.close()
            raise

    def _demand_real(self) -> None:
        if self.coverage is Coverage.TEST_SIGNATURES:
            why = "no clamd was found"
        elif not self._pool.proven:
            why = "; ".join(e.failure for e in self._pool.endpoints)
        else:
            return
        raise RealEngineMissing(f"antivirus {self.name}: require-real-engine is set, but {why}")

    async def close(self) -> None:
        """Ends what runs in the background and closes the engines."""
        await self._pool.close()
        if self._cache is not None:
            await self._cache.close()

    def skips(self, size: int) -> bool:
        """Whether an object of `size` bytes is `skipped` without the engine being asked."""
        return size > self._max_checked_size or self._pool.skips(size)

    async def check(self, body: Body, *, fresh: bool = False) -> ScanReport:
        """One engine's word on one document; with `fresh` nothing that is remembered answers for it. Never raises
        but for cancellation, when all sockets are closed."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        course = _Course()
        if body.size > self._max_checked_size:
            detail = f"{body.size} bytes are more than max-checked-size, {self._max_checked_size}"
            answer = Answer(Status.SKIPPED, detail=detail)
        else:
            answer = await self._answer_in_time(body, course, fresh=fresh)
        return self._report(answer, course, 1000 * (loop.time() - began))

    async def _answer_in_time(self, body: Body, course: _Course, *, fresh: bool) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                if self._cache is not None and not fresh:
                    return await self._recall_or_ask(self._cache, body, course)
                return await self._ask(body, course)
        except TimeoutError:
            late = course.asked[-1] if course.asked else self._pool.endpoints[0]
            if course.asked:
                late.doubt()
            return Answer(Status.ERROR, detail=f"no answer within {self._timeout:g} s from {late.engine}")
        except Exception as crash:
            _log.exception("antivirus %s: the check failed", self.name)
            return Answer(Status.ERROR, detail=f"the check failed: {crash!r}")

    async def _recall_or_ask(self, cache: SectionCache, body: Body, course: _Course) -> Answer:
        """What is remembered by the endpoint that would be asked; else its answer, or that of the same check under
        way."""
        endpoint = self._pool.pick(body.size)
        # Without a proof that stands for this size there is nothing that could be believed, remembered or not.
        if endpoint is None or not endpoint.standing(body.size):
            return await self._ask(body, course)
        if (key := cache.key(body, endpoint.edition)) is None:
            return await self._ask(body, course)
        course.recalled_from = endpoint
        if (answer := cache.recall(key) or await cache.join(key, _PATIENCE * self._timeout)) is not None:
            course.cached = True
            return answer

        async def ask() -> tuple[Answer, str]:
            return await self._ask(body, course), course.edition

        answer, course.cached = await cache.lead(key, ask)
        return answer

    async def _ask(self, body: Body, course: _Course) -> Answer:
        """Asks one endpoint, and after an `error` another one: a scan may be repeated without harm."""
        failures: list[str] = []
        while len(course.asked) < _ATTEMPTS:
            if (endpoint := self._pool.pick(body.size, but=course.asked)) is None:
                break
            course.asked.append(endpoint)
            course.edition = endpoint.edition  # before the check: what changes meanwhile is not of this verdict
            answer = await endpoint.ask(body)
            if answer.status is not Status.ERROR:
                return answer
            failures.append(answer.detail)
        return Answer(Status.ERROR, detail="; then ".join(failures))

    def _report(self, answer: Answer, course: _Course, ms: float) -> ScanReport:
        endpoint = course.endpoint or self._pool.endpoints[0]
        engine = endpoint.engine
        return ScanReport(
            antivirus=self.name,
            protocol=engine.protocol,
            status=answer.status,
            virus=answer.virus,
            detail=answer.detail,
            version=endpoint.version,
            ms=ms,
            cached=course.cached,
            coverage=engine.coverage,
        )


class _Course:
    """How one check went: who was asked, in order, and the edition of the last of them when it was asked."""

    __slots__ = ("asked", "cached", "edition", "recalled_from")

    def __init__(self) -> None:
        self.asked: list[Endpoint] = []
        self.edition = ""
        self.cached = False
        self.recalled_from: Endpoint | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """Whose answer it is."""
        return self.asked[-1] if self.asked else self.recalled_from
