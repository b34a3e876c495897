"""One named antivirus section of the policy, ready to be asked.

Rules of this file: the size gate comes first; one deadline holds for queueing, proof, connecting, sending and
waiting, retry included; a check ends in a report, never in an exception, but for cancellation.
"""

from __future__ import annotations

import asyncio
import logging

from policy.verdict import Coverage, ScanReport, Status
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.pool import Pool

_log = logging.getLogger("avsluice.scanners")

_ATTEMPTS = 2


class RealEngineMissing(ValueError):
    """The policy says `require-real-engine`, and none was proven. The text is for the administrator."""


class Antivirus:
    """What the gateways see of an engine. Made by `scanners.registry.open_antivirus`.

    `timeout` in seconds, `max_checked_size` in bytes. `start` before the first check, `close` after the last.
    """

    def __init__(
        self, name: str, pool: Pool, *, timeout: float, max_checked_size: int, require_real: bool = False
    ) -> None:
        self.name = name
        self._pool = pool
        self._timeout = timeout
        self._max_checked_size = max_checked_size
        self._require_real = require_real

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

    def skips(self, size: int) -> bool:
        """Whether an object of `size` bytes is `skipped` without the engine being asked."""
        return size > self._max_checked_size or self._pool.skips(size)

    async def check(self, body: Body) -> ScanReport:
        """One engine's word on one document. Never raises but for cancellation, when all sockets are
        closed."""
        began = asyncio.get_running_loop().time()
        asked: list[Endpoint] = []
        if body.size > self._max_checked_size:
            detail = f"{body.size} bytes are more than max-checked-size, {self._max_checked_size}"
            answer = Answer(Status.SKIPPED, detail=detail)
        else:
            answer = await self._ask_in_time(body, asked)
        spent = asyncio.get_running_loop().time() - began
        return self._report(answer, asked[-1] if asked else self._pool.endpoints[0], 1000 * spent)

    async def _ask_in_time(self, body: Body, asked: list[Endpoint]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(body, asked)
        except TimeoutError:
            late = asked[-1]
            late.doubt()
            return Answer(Status.ERROR, detail=f"no answer within {self._timeout:g} s from {late.engine}")
        except Exception as crash:
            _log.exception("antivirus %s: the check failed", self.name)
            return Answer(Status.ERROR, detail=f"the check failed: {crash!r}")

    async def _ask(self, body: Body, asked: list[Endpoint]) -> Answer:
        """Asks one endpoint, and after an `error` another one: a scan may be repeated without harm."""
        answer = Answer(Status.ERROR, detail="no endpoint")
        while len(asked) < _ATTEMPTS and (endpoint := self._pool.pick(body.size, but=asked)) is not None:
            asked.append(endpoint)
            answer = await endpoint.ask(body)
            if answer.status is not Status.ERROR:
                break
        return answer

    def _report(self, answer: Answer, endpoint: Endpoint, ms: float) -> ScanReport:
        return ScanReport(
            antivirus=self.name,
            protocol=endpoint.engine.protocol,
            status=answer.status,
            virus=answer.virus,
            detail=answer.detail,
            version=endpoint.version,
            ms=ms,
            coverage=endpoint.engine.coverage,
        )
