"""The endpoints behind one section."""

from __future__ import annotations

import asyncio

import pytest

from policy.verdict import Coverage
from scanners.endpoint import Endpoint
from scanners.pool import Pool
from tests.scanners.scripted import BROKEN, CLEAN, ScriptedEngine, terms

pytestmark = pytest.mark.looptime


async def started(*engines: ScriptedEngine) -> Pool:
    pool = Pool([Endpoint([engine], terms()) for engine in engines])
    await pool.start()
    await asyncio.sleep(1)
    return pool


async def test_the_least_busy_is_asked() -> None:
    """Two slow checks go to two endpoints."""
    engines = ScriptedEngine(), ScriptedEngine()
    pool = await started(*engines)
    for engine in engines:
        engine.seconds = 5
        engine.asked.clear()
    picked = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            endpoint = pool.pick(CLEAN.size)
            assert endpoint is not None
            picked.append(endpoint)
            tasks.create_task(endpoint.ask(CLEAN))
            await asyncio.sleep(0.1)
    assert [picked.count(e) for e in pool.endpoints] == [2, 2]
    await pool.close()


async def test_the_healthy_is_asked_first() -> None:
    """An endpoint without proof is asked only where there is no other."""
    pool = await started(ScriptedEngine(answer=lambda body: BROKEN), ScriptedEngine())
    first, second = pool.endpoints
    assert pool.pick(1) is second
    assert pool.pick(1, but=[second]) is first
    assert pool.pick(1, but=[first, second]) is None
    assert pool.proven
    await pool.close()


async def test_who_can_see_the_object_is_asked() -> None:
    """An endpoint with a smaller limit is passed over; only what none can see is skipped."""
    pool = await started(ScriptedEngine(limit=5000), ScriptedEngine(limit=9000))
    assert pool.pick(7000) is pool.endpoints[1]
    assert (pool.skips(7000), pool.skips(9001)) == (False, True)
    await pool.close()


async def test_all_start_side_by_side() -> None:
    """Three silent endpoints cost one timeout, not three."""
    began = asyncio.get_running_loop().time()
    pool = Pool([Endpoint([ScriptedEngine(seconds=3600)], terms(timeout=10)) for _ in range(3)])
    await pool.start()
    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert not pool.proven
    assert pool.coverage is Coverage.FULL
    await pool.close()


async def test_those_who_wait_count_as_load() -> None:
    """With all slots taken everywhere, newcomers are spread by the length of the queues."""
    pool = Pool([Endpoint([ScriptedEngine()], terms(concurrency=1)) for _ in range(2)])
    await pool.start()
    await asyncio.sleep(1)
    for endpoint in pool.endpoints:
        assert isinstance(endpoint.engine, ScriptedEngine)
        endpoint.engine.seconds = 5
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            endpoint = pool.pick(CLEAN.size)
            assert endpoint is not None
            tasks.create_task(endpoint.ask(CLEAN))
            await asyncio.sleep(0.01)
        assert [e.load for e in pool.endpoints] == [5, 5]
    await pool.close()


async def test_an_endpoint_in_doubt_is_passed_over() -> None:
    """Proven, then in doubt, then without proof, then left alone: in this order they are asked."""
    pool = await started(ScriptedEngine(), ScriptedEngine(), ScriptedEngine(answer=lambda body: BROKEN))
    first, second, third = pool.endpoints
    assert (first.health, third.health) == (0, 2)
    first.doubt()
    assert pool.pick(1) is second
    assert pool.pick(1, but=[second]) is first
    assert pool.pick(1, but=[first, second]) is third
    for _ in range(3):
        await third.ask(CLEAN)
    second.doubt()
    assert third.health == 3
    assert pool.pick(1, but=[third]) is not third
    await pool.close()


async def test_a_fall_of_any_endpoint_is_told() -> None:
    """Also of one that came later."""
    falls: list[str] = []
    pool = await started(ScriptedEngine(), second := ScriptedEngine())
    pool.watch(lambda: falls.append("fall"))
    second.answer = lambda body: BROKEN
    await asyncio.sleep(31)
    assert falls
    await pool.close()
