"""The breaker and the looks at the version around a proof; the rest is in test_endpoint. Time is virtual."""

from __future__ import annotations

import asyncio
import logging

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.breaker import LONGEST
from scanners.endpoint import Endpoint
from scanners.keeper import POLL
from tests.scanners.scripted import BROKEN, CLEAN, FREE, ScriptedEngine, terms

pytestmark = pytest.mark.looptime


async def started(engine: ScriptedEngine, *, within: float = 30, canary: float | None = 30) -> Endpoint:
    endpoint = Endpoint([engine], terms(timeout=within, canary=canary))
    await endpoint.start()
    await asyncio.sleep(1)
    return endpoint


async def test_an_engine_that_keeps_failing_is_left_alone() -> None:
    """After three failed canaries checks are refused at once and nobody is asked, until a pause is over."""
    engine = ScriptedEngine(answer=lambda body: BROKEN)
    endpoint = await started(engine)
    for _ in range(3):
        await endpoint.ask(CLEAN)
    asked = len(engine.asked)
    began = asyncio.get_running_loop().time()
    for _ in range(100):
        answer = await endpoint.ask(CLEAN)
        assert (answer.status, endpoint.health) == (Status.ERROR, 3)
    assert len(engine.asked) == asked
    assert asyncio.get_running_loop().time() == began
    await endpoint.close()


async def test_a_hanging_engine_makes_nobody_wait_once_it_is_left_alone() -> None:
    """Each canary costs its timeout; when three went unanswered a check does not wait for a fourth."""
    endpoint = await started(ScriptedEngine(seconds=3600), within=10)
    while endpoint.health != 3:  # noqa: ASYNC110  (virtual time)
        await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    assert (await endpoint.ask(CLEAN)).detail == "no proof within 10 s"
    assert asyncio.get_running_loop().time() == began
    await endpoint.close()


async def test_the_half_open_breaker_sends_one_canary() -> None:
    """A check that comes while that canary is under way waits for it, and is answered if it is found."""
    engine = ScriptedEngine(answer=lambda body: BROKEN)
    endpoint = await started(engine)
    await asyncio.sleep(600)
    engine.answer, engine.seconds = (lambda body: None), 2
    engine.asked.clear()
    while not engine.asked:  # noqa: ASYNC110  (virtual time)
        await asyncio.sleep(0.5)
    answers = await asyncio.gather(*(endpoint.ask(CLEAN) for _ in range(5)))
    assert [a.status for a in answers] == [Status.FREE] * 5
    assert engine.asked.count(68) == 1
    await endpoint.close()


async def test_recovery_takes_half_a_minute_at_most() -> None:
    """After an hour without an engine its return is seen by itself."""
    engine = ScriptedEngine(answer=lambda body: BROKEN)
    endpoint = await started(engine)
    await asyncio.sleep(3600)
    engine.answer = lambda body: None
    await asyncio.sleep(LONGEST + 1)
    assert (await endpoint.ask(CLEAN)).status is Status.FREE
    await endpoint.close()


async def test_errors_of_objects_do_not_open_the_breaker() -> None:
    """An object that the engine chokes on costs a canary each time, not the other objects' checks."""
    engine = ScriptedEngine(answer=lambda body: BROKEN if body.size == 3 else None)
    endpoint = await started(engine)
    poison = MemoryBody(b"bad")
    for _ in range(10):
        await asyncio.gather(*(endpoint.ask(poison) for _ in range(8)))
        assert (await endpoint.ask(CLEAN)).status is Status.FREE
    await endpoint.close()


async def test_the_version_is_looked_at_between_canaries() -> None:
    """A reload is noticed ten seconds later at the latest, also without canaries."""
    engine = ScriptedEngine()
    endpoint = await started(engine, canary=None)
    engine.told_version = "Scripted 2"
    await asyncio.sleep(POLL + 1)
    assert endpoint.version == "Scripted 2"
    await endpoint.close()


async def test_a_silent_look_is_a_doubt() -> None:
    """An engine that does not tell its version within the timeout must be found EICAR by before the next check."""

    class Mute(ScriptedEngine):
        mute = False

        async def version(self) -> str:
            if self.mute:
                await asyncio.sleep(3600)
            return await super().version()

    engine = Mute()
    endpoint = await started(engine, within=5, canary=3600)
    engine.mute = True
    await asyncio.sleep(POLL + 5.5)
    assert not endpoint.proven
    await endpoint.close()


async def test_an_adapter_that_raises_at_a_look_is_a_doubt(caplog: pytest.LogCaptureFixture) -> None:
    """The bug is logged, and the proof made anew."""

    class Buggy(ScriptedEngine):
        broken = False

        async def version(self) -> str:
            if self.broken:
                self.broken = False
                raise RuntimeError("bug")
            return await super().version()

    engine = Buggy()
    endpoint = await started(engine, canary=3600)
    engine.broken = True
    engine.asked.clear()
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(POLL + 1)
    assert "the adapter failed" in caplog.text
    assert engine.asked == [68]
    assert endpoint.proven
    await endpoint.close()


async def test_every_failed_canary_is_told() -> None:
    """Whoever watches learns of each; nobody is told while all is well."""
    engine = ScriptedEngine()
    told: list[float] = []
    endpoint = Endpoint([engine], terms())
    endpoint.watch(lambda: told.append(asyncio.get_running_loop().time()))
    await endpoint.start()
    await asyncio.sleep(100)
    assert told == []
    engine.answer = lambda body: FREE
    await asyncio.sleep(31)
    assert len(told) >= 1
    await endpoint.close()


@pytest.mark.parametrize(("doubted", "health"), [(False, 0), (True, 1)])
async def test_health_tells_proof_from_doubt(*, doubted: bool, health: int) -> None:
    """0 and 1; without proof 2, left alone 3."""
    endpoint = await started(ScriptedEngine())
    if doubted:
        endpoint.doubt()
    assert endpoint.health == health
    await endpoint.close()
