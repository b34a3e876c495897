"""One endpoint: its proof, its slots, its state. Time is virtual."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody, SparseBody
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.specimens import EICAR
from tests.scanners.scripted import BROKEN, CLEAN, FOUND, FREE, INFECTED, ScriptedEngine, after_start, terms

pytestmark = pytest.mark.looptime

MIB = 1 << 20


@contextlib.asynccontextmanager
async def running(*engines: ScriptedEngine, **wanted: Any) -> AsyncIterator[Endpoint]:
    """A started endpoint, a second later: with the whole limit probe behind it. Virtual time spares fixtures."""
    endpoint = Endpoint(engines, terms(**wanted))
    await endpoint.start()
    await asyncio.sleep(1)
    try:
        yield endpoint
    finally:
        await endpoint.close()


async def test_a_proven_engine_answers() -> None:
    """Behind a standing proof the engine's answers are given on."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        assert endpoint.proven
        assert (await endpoint.ask(CLEAN)).status is Status.FREE
        assert (await endpoint.ask(INFECTED)).status is Status.FOUND
        assert endpoint.version == "Scripted 1"


async def test_before_start_and_after_close_all_is_error() -> None:
    """Nothing is asked of an engine that nobody started, or that was closed."""
    engine = ScriptedEngine()
    endpoint = Endpoint([engine], terms())
    assert (await endpoint.ask(CLEAN)).status is Status.ERROR
    await endpoint.start()
    await endpoint.close()
    answer = await endpoint.ask(CLEAN)
    assert (answer.status, answer.detail) == (Status.ERROR, "the engine was closed")
    assert engine.closed


async def test_a_canary_is_sent_every_interval() -> None:
    """Thirty seconds pass between two canaries, and a canary is all that is sent."""
    engine = ScriptedEngine()
    async with running(engine):
        engine.asked.clear()
        await asyncio.sleep(100)
        assert engine.asked == [68, 68, 68]


async def test_without_canary_only_the_start_is_proven() -> None:
    """`canary: off` keeps the proof at the start and sends nothing later."""
    engine = ScriptedEngine()
    endpoint = Endpoint([engine], terms(canary=None))
    await endpoint.start()
    await asyncio.sleep(3600)
    assert engine.asked == [68, MIB, 100 * MIB]
    await endpoint.close()


async def test_an_engine_gone_blind_is_error_one_interval_later() -> None:
    """OK to everything: error at the latest one canary interval later, and never free again."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        engine.answer = lambda body: FREE
        await asyncio.sleep(30)
        answer = await endpoint.ask(CLEAN)
        assert answer.status is Status.ERROR
        assert "EICAR was not found but `free`" in answer.detail
        assert not endpoint.proven


async def test_a_blind_engine_is_error_from_the_start() -> None:
    """OK to everything from the beginning is never free."""
    endpoint = Endpoint([ScriptedEngine(answer=lambda body: FREE)], terms())
    await endpoint.start()
    assert (await endpoint.ask(CLEAN)).status is Status.ERROR
    await endpoint.close()


async def test_an_engine_that_comes_back_is_used_at_once() -> None:
    """A check on a failed engine tries the proof once more, so recovery needs no waiting."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        engine.answer = lambda body: BROKEN
        assert (await endpoint.ask(CLEAN)).status is Status.ERROR
        assert (await endpoint.ask(CLEAN)).status is Status.ERROR
        engine.answer = lambda body: None
        assert (await endpoint.ask(CLEAN)).status is Status.FREE


async def test_a_failed_engine_is_tried_again_by_itself() -> None:
    """Down at start, up later: proven again within the pauses, without any check."""
    engine = ScriptedEngine()
    engine.answer = lambda body: BROKEN
    endpoint = Endpoint([engine], terms())
    await endpoint.start()
    assert not endpoint.proven
    await asyncio.sleep(20)
    engine.answer = lambda body: None
    await asyncio.sleep(30)
    assert endpoint.proven
    await endpoint.close()


async def test_pauses_grow_while_an_engine_is_down() -> None:
    """An engine that is down for an hour is tried about twice a minute, not more."""
    engine = ScriptedEngine(answer=lambda body: BROKEN)
    endpoint = Endpoint([engine], terms())
    await endpoint.start()
    await asyncio.sleep(3600)
    assert 100 < len(engine.asked) < 130
    await endpoint.close()


async def test_an_error_is_followed_by_a_canary_before_the_next_check() -> None:
    """After any error the next check waits for EICAR to be found again."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        engine.answer = after_start(BROKEN)
        await endpoint.ask(CLEAN)
        engine.answer = lambda body: None
        engine.asked.clear()
        await endpoint.ask(CLEAN)
        assert engine.asked == [68, CLEAN.size]


async def test_free_of_an_engine_that_lost_its_proof_meanwhile_is_error() -> None:
    """A check that was under way when the canary failed is not believed."""
    engine = ScriptedEngine()
    endpoint = Endpoint([engine], terms())
    await endpoint.start()
    await asyncio.sleep(29)
    engine.seconds = 5
    asking = asyncio.get_running_loop().create_task(endpoint.ask(MemoryBody(b"x")))
    await asyncio.sleep(0.5)
    engine.seconds = 0
    engine.answer = lambda body: FREE
    answer = await asking
    assert answer.status is Status.ERROR
    assert "lost its proof" in answer.detail
    await endpoint.close()


async def test_a_new_version_is_proven_anew() -> None:
    """A change of version brings the whole proof again, limit included."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        engine.asked.clear()
        engine.told_version, engine.limit = "Scripted 2", 2 * MIB
        await asyncio.sleep(31)
        assert engine.asked[:3] == [68, MIB, 100 * MIB]
        assert (endpoint.version, endpoint.limit) == ("Scripted 2", 2 * MIB)


async def test_above_the_limit_is_skipped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Above the proven limit nothing is asked, and one warning names the setting to raise."""
    engine = ScriptedEngine()
    engine.limit = 5 * MIB
    endpoint = Endpoint([engine], terms())
    with caplog.at_level(logging.WARNING):
        await endpoint.start()
        assert (await endpoint.ask(SparseBody(5 * MIB, []))).status is Status.FREE
        engine.asked.clear()
        answer = await endpoint.ask(SparseBody(5 * MIB + 1, []))
    assert answer.status is Status.SKIPPED
    assert str(5 * MIB) in answer.detail
    assert engine.asked == []
    assert (endpoint.skips(5 * MIB), endpoint.skips(5 * MIB + 1)) == (False, True)
    warnings = [r.getMessage() for r in caplog.records]
    assert len(warnings) == 1
    assert "Limit in scripted.conf" in warnings[0]
    await endpoint.close()


async def test_larger_objects_wait_for_the_limit_probe_and_small_ones_do_not() -> None:
    """While the rest of the probe runs, what is known to be seen is checked, what is not waits."""
    engine = ScriptedEngine()
    engine.seconds = 4
    endpoint = Endpoint([engine], terms())
    await endpoint.start()
    loop = asyncio.get_running_loop()
    large = loop.create_task(endpoint.ask(SparseBody(50 * MIB, [])))
    await asyncio.sleep(1)
    assert 50 * MIB not in engine.asked
    assert (await endpoint.ask(CLEAN)).status is Status.FREE
    assert (await large).status is Status.FREE
    await endpoint.close()


async def test_where_the_probe_cannot_be_made_larger_objects_are_error() -> None:
    """Trouble with the rest of the probe: small objects are checked, larger ones are error, then it is retried."""
    engine = ScriptedEngine()

    def decide(body: Body) -> Answer | None:
        return BROKEN if body.size > MIB else None

    engine.answer = decide
    endpoint = Endpoint([engine], terms())
    await endpoint.start()
    assert (await endpoint.ask(CLEAN)).status is Status.FREE
    answer = await endpoint.ask(SparseBody(2 * MIB, []))
    assert answer.status is Status.ERROR
    assert "limit probe" in answer.detail
    engine.answer = lambda body: None
    await asyncio.sleep(31)
    assert (await endpoint.ask(SparseBody(2 * MIB, []))).status is Status.FREE
    await endpoint.close()


async def test_a_probe_without_answer_ends_within_the_timeout() -> None:
    """A hanging probe of a large object is error for large objects, in time."""

    class Slow(ScriptedEngine):
        async def ask(self, body: Body) -> Answer:
            self.seconds = 3600 if body.size > MIB else 0
            return await super().ask(body)

    endpoint = Endpoint([Slow()], terms(timeout=10))
    await endpoint.start()
    answer = await endpoint.ask(SparseBody(2 * MIB, []))
    assert "within 10 s" in answer.detail
    assert (await endpoint.ask(CLEAN)).status is Status.FREE
    await endpoint.close()


async def test_start_is_bounded_by_the_timeout() -> None:
    """A silent engine keeps nobody waiting longer than `timeout`."""
    endpoint = Endpoint([ScriptedEngine(seconds=3600)], terms(timeout=30))
    began = asyncio.get_running_loop().time()
    await endpoint.start()
    assert asyncio.get_running_loop().time() - began == pytest.approx(30)
    assert endpoint.failure == "no proof within 30 s"
    await endpoint.close()


@pytest.mark.parametrize("where", ["proof", "probe", "check", "version"])
async def test_an_adapter_that_raises_is_error_and_recovers(where: str) -> None:
    """A bug in an adapter costs its own checks and nothing else."""
    broken = True

    class Buggy(ScriptedEngine):
        async def ask(self, body: Body) -> Answer:
            sizes = {"proof": body.size == 68, "probe": body.size > MIB, "check": body.size == CLEAN.size}
            if broken and sizes.get(where):
                raise RuntimeError("bug")
            return await super().ask(body)

        async def version(self) -> str:
            if broken and where == "version":
                raise RuntimeError("bug")
            return await super().version()

    endpoint = Endpoint([Buggy()], terms())
    await endpoint.start()
    body = SparseBody(2 * MIB, []) if where == "probe" else CLEAN
    answer = await endpoint.ask(body)
    assert answer.status is Status.ERROR
    assert "bug" in answer.detail
    broken = False
    await asyncio.sleep(31)
    assert (await endpoint.ask(body)).status is Status.FREE
    await endpoint.close()


async def test_slots_are_bounded_and_handed_out_in_order() -> None:
    """With three slots, three checks are under way, and waiting ones follow in order of arrival."""
    engine = ScriptedEngine()
    endpoint = Endpoint([engine], terms(concurrency=3))
    await endpoint.start()
    await asyncio.sleep(1)
    engine.seconds, engine.most_under_way = 1, 0
    engine.asked.clear()
    async with asyncio.TaskGroup() as tasks:
        for size in range(1, 10):
            tasks.create_task(endpoint.ask(MemoryBody(b"x" * size)))
    assert engine.most_under_way == 3
    assert engine.asked == list(range(1, 10))
    await endpoint.close()


async def test_too_many_waiting_is_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded."""
    engine = ScriptedEngine()
    monkeypatch.setattr("scanners.endpoint.QUEUE_LIMIT", 2)
    endpoint = Endpoint([engine], terms(concurrency=1))
    await endpoint.start()
    await asyncio.sleep(1)
    engine.seconds = 1
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(endpoint.ask(CLEAN)) for _ in range(5)]
    assert [a.result().status for a in asked].count(Status.ERROR) == 2
    await endpoint.close()


async def test_a_cancelled_check_gives_its_slot_back() -> None:
    """Neither a waiting nor a running check that is cancelled keeps a slot."""
    engine = ScriptedEngine()
    endpoint = Endpoint([engine], terms(concurrency=1))
    await endpoint.start()
    await asyncio.sleep(1)
    engine.seconds = 5
    for _ in range(3):
        asked = [asyncio.get_running_loop().create_task(endpoint.ask(CLEAN)) for _ in range(2)]
        await asyncio.wait(asked, timeout=1)
        for asking in asked:
            asking.cancel()
        await asyncio.wait(asked)
        assert all(asking.cancelled() for asking in asked)
    assert endpoint.in_flight == 0
    assert (await endpoint.ask(CLEAN)).status is Status.FREE
    await endpoint.close()


async def test_the_first_variant_that_is_proven_serves(caplog: pytest.LogCaptureFixture) -> None:
    """Where one transport fails its proof the next one is taken, with a log line that says why."""
    first, second = ScriptedEngine(answer=lambda body: FREE), ScriptedEngine()
    endpoint = Endpoint([first, second], terms())
    with caplog.at_level(logging.WARNING):
        await endpoint.start()
    assert endpoint.engine is second
    assert "is used instead" in caplog.text
    await endpoint.close()
    assert first.closed
    assert second.closed


async def test_a_transport_that_fails_later_is_replaced() -> None:
    """The proof belongs to one transport: when it falls, all are tried again in order."""
    engine = ScriptedEngine()
    second = ScriptedEngine()
    endpoint = Endpoint([engine, second], terms())
    await endpoint.start()
    await asyncio.sleep(1)
    assert endpoint.engine is engine
    engine.answer = lambda body: FREE
    await asyncio.sleep(60)
    assert endpoint.engine is second
    await endpoint.close()


async def test_an_engine_that_finds_everything_is_proven() -> None:
    """Finding too much is the engine's business: it blocks, it does not let pass."""
    endpoint = Endpoint([ScriptedEngine(answer=lambda body: FOUND)], terms())
    await endpoint.start()
    assert (await endpoint.ask(CLEAN)).status is Status.FOUND
    await endpoint.close()


async def test_repr_tells_the_state() -> None:
    """In a debugger one sees what is proven and how busy it is."""
    engine = ScriptedEngine()
    async with running(engine) as endpoint:
        assert repr(endpoint) == "<Endpoint the scripted engine proven to 104857600, 0 in flight, 0 waiting>"


def test_the_test_virus_is_recognised_by_the_script() -> None:
    """The scripted engine itself sees what the tests rely on."""
    assert INFECTED.read(0, 100) == EICAR
