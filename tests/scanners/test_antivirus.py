"""One named section of the policy: size gate, deadline, retry, report."""

from __future__ import annotations

import asyncio

import pytest

from policy.verdict import Coverage, Status
from scanners.antivirus import Antivirus, RealEngineMissing
from scanners.body import MemoryBody, SparseBody
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.fake import FakeClamd, Fault
from scanners.pool import Pool
from tests.scanners.conftest import Stand
from tests.scanners.scripted import (
    BROKEN,
    CLEAN,
    FREE,
    INFECTED,
    ScriptedEngine,
    after_start,
    make_antivirus,
    terms,
)


async def started(*engines: ScriptedEngine, within: float = 30.0, most: int = 100 << 20) -> Antivirus:
    endpoints = [Endpoint([engine], terms(timeout=within, most=most)) for engine in engines]
    antivirus = make_antivirus(*endpoints, timeout=within, most=most)
    await antivirus.start()
    await asyncio.sleep(1)
    return antivirus


async def fallen(endpoint: Endpoint) -> None:
    while endpoint.proven:  # noqa: ASYNC110  (a real server is watched from outside: there is no event)
        await asyncio.sleep(0.01)


@pytest.mark.looptime
class TestCheck:
    """Checks, in virtual time."""

    async def test_a_report_says_it_all(self) -> None:
        """Name, protocol, status, virus, version, time and coverage are in the report."""
        engine = ScriptedEngine()
        antivirus = await started(engine)
        engine.seconds = 0.25
        report = await antivirus.check(INFECTED)
        assert (report.antivirus, report.protocol, report.status) == ("AV", "clamav-net", Status.FOUND)
        assert (report.virus, report.version, report.coverage) == ("Eicar", "Scripted 1", Coverage.FULL)
        assert report.ms == pytest.approx(250)
        assert not report.cached
        await antivirus.close()

    async def test_the_size_gate_comes_first(self) -> None:
        """An object of max-checked-size is checked; one byte more is skipped and nobody is asked."""
        engine = ScriptedEngine()
        antivirus = await started(engine, most=1000)
        engine.asked.clear()
        assert (await antivirus.check(SparseBody(1000, []))).status is Status.FREE
        report = await antivirus.check(SparseBody(1001, []))
        assert (report.status, engine.asked) == (Status.SKIPPED, [1000])
        assert "max-checked-size" in report.detail
        assert (antivirus.skips(1000), antivirus.skips(1001)) == (False, True)
        await antivirus.close()

    async def test_the_size_gate_needs_no_engine(self) -> None:
        """Too large is skipped even where the engine is down."""
        antivirus = await started(ScriptedEngine(answer=lambda body: BROKEN), most=1000)
        assert (await antivirus.check(SparseBody(1001, []))).status is Status.SKIPPED
        await antivirus.close()

    async def test_a_proven_limit_is_skipped_too(self) -> None:
        """Above the engine's own limit an object is skipped, and skips() knows."""
        antivirus = await started(ScriptedEngine(limit=5000))
        assert (await antivirus.check(SparseBody(5001, []))).status is Status.SKIPPED
        assert antivirus.skips(5001)
        await antivirus.close()

    async def test_one_deadline_holds_for_everything(self) -> None:
        """Queueing and asking together end with the timeout, as an error that says how long it was."""
        engine = ScriptedEngine()
        antivirus = await started(engine, within=10)
        engine.seconds = 7
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(antivirus.check(CLEAN)) for _ in range(16)]
        assert asyncio.get_running_loop().time() - began == pytest.approx(10)
        reports = [check.result() for check in checks]
        assert [r.status for r in reports].count(Status.FREE) == 8
        assert {r.detail for r in reports if r.status is Status.ERROR} == {
            "no answer within 10 s from the scripted engine"
        }
        await antivirus.close()

    async def test_after_a_deadline_the_engine_must_prove_itself(self) -> None:
        """An engine that let a deadline pass gets a canary before the next check."""
        engine = ScriptedEngine()
        antivirus = await started(engine, within=10)
        engine.seconds = 3600
        await antivirus.check(CLEAN)
        engine.seconds = 0
        engine.asked.clear()
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        assert engine.asked[0] == 68
        await antivirus.close()

    async def test_an_engine_that_raises_is_error(self) -> None:
        """No exception of an engine leaves check()."""

        def crash(body: Body) -> Answer | None:
            if body is CLEAN:
                raise ZeroDivisionError("oops")
            return None

        antivirus = await started(ScriptedEngine(answer=crash))
        report = await antivirus.check(CLEAN)
        assert report.status is Status.ERROR
        assert "ZeroDivisionError('oops')" in report.detail
        await antivirus.close()

    async def test_a_pool_that_raises_is_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No exception of our own machinery leaves check() either."""
        antivirus = await started(ScriptedEngine())

        def crash(*_: object, **__: object) -> None:
            raise RuntimeError("bug")

        monkeypatch.setattr(Pool, "pick", crash)
        report = await antivirus.check(CLEAN)
        assert (report.status, report.detail) == (Status.ERROR, "the check failed: RuntimeError('bug')")
        await antivirus.close()

    async def test_cancellation_passes_through(self) -> None:
        """A cancelled check is cancelled, and its engine with it."""
        engine = ScriptedEngine()
        antivirus = await started(engine)
        engine.seconds = 3600
        checking = asyncio.get_running_loop().create_task(antivirus.check(CLEAN))
        await asyncio.sleep(1)
        assert engine.under_way == 1
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        assert engine.under_way == 0
        await antivirus.close()

    async def test_an_error_is_retried_once_on_another_endpoint(self) -> None:
        """With two endpoints the second answers for the first."""
        broken, sound = ScriptedEngine(answer=after_start(BROKEN)), ScriptedEngine(told_version="Two")
        antivirus = await started(broken, sound)
        report = await antivirus.check(CLEAN)
        assert (report.status, report.version) == (Status.FREE, "Two")
        await antivirus.close()

    async def test_where_both_fail_both_are_named(self) -> None:
        """One retry and no more; the detail holds both reasons, in order."""
        engines = [
            ScriptedEngine(answer=after_start(Answer(Status.ERROR, detail=name))) for name in ("one", "two", "three")
        ]
        antivirus = await started(*engines)
        report = await antivirus.check(CLEAN)
        assert (report.status, report.detail) == (Status.ERROR, "one; then two")
        await antivirus.close()

    async def test_the_retry_is_within_the_same_deadline(self) -> None:
        """Seven seconds until the error, seven more on the second endpoint: too late after ten."""
        engines = [ScriptedEngine(answer=after_start(BROKEN)), ScriptedEngine()]
        antivirus = await started(*engines, within=10)
        for engine in engines:
            engine.seconds = 7
        report = await antivirus.check(CLEAN)
        assert (report.status, report.ms) == (Status.ERROR, pytest.approx(10_000))
        await antivirus.close()

    @pytest.mark.parametrize("status", [Status.FOUND, Status.SKIPPED, Status.UNKNOWN])
    async def test_other_answers_are_not_retried(self, status: Status) -> None:
        """Only an error sends an object to a second endpoint."""
        first, second = ScriptedEngine(answer=after_start(Answer(status))), ScriptedEngine()
        antivirus = await started(first, second)
        second.asked.clear()
        assert (await antivirus.check(CLEAN)).status is status
        assert second.asked == []
        await antivirus.close()

    async def test_an_engine_that_is_down_does_not_stop_the_start(self) -> None:
        """start() returns; checks are error until the engine is there."""
        engine = ScriptedEngine(answer=lambda body: BROKEN)
        antivirus = await started(engine)
        report = await antivirus.check(CLEAN)
        assert report.status is Status.ERROR
        engine.answer = lambda body: None
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        await antivirus.close()

    async def test_a_required_real_engine_that_is_down_stops_the_start(self) -> None:
        """Under require-real-engine the start fails, says why, and leaves nothing running."""
        engine = ScriptedEngine(answer=lambda body: FREE)
        endpoint = Endpoint([engine], terms())
        pool = Pool([endpoint])
        antivirus = Antivirus("AV", pool, timeout=30, max_checked_size=1000, require_real=True)
        with pytest.raises(RealEngineMissing, match=r"antivirus AV: .*EICAR was not found"):
            await antivirus.start()
        assert engine.closed
        assert len(asyncio.all_tasks()) == 1


class TestOverSockets:
    """Checks through real sockets, in real time."""

    async def test_a_client_that_goes_away_frees_the_socket(self, fake_clamd: FakeClamd, fake_stand: Stand) -> None:
        """Cancelling a check closes its connection at once."""
        fake_clamd.fault = Fault.SILENCE
        endpoint = Endpoint([fake_stand.engine], terms(most=100_000))
        antivirus = make_antivirus(endpoint)
        await antivirus.start()
        checking = asyncio.get_running_loop().create_task(antivirus.check(MemoryBody(b"x" * 100_000)))
        await asyncio.wait([checking], timeout=0.1)
        assert fake_clamd.connections == 1
        checking.cancel()
        await asyncio.wait([checking])
        async with asyncio.timeout(2):
            await fake_clamd.idle()
        await antivirus.close()

    @pytest.mark.parametrize(
        ("fault", "status"),
        [(f, s) for f, s in [
            (Fault.SILENCE, Status.ERROR), (Fault.SLOW, Status.ERROR), (Fault.HALF_REPLY, Status.ERROR),
            (Fault.GARBAGE, Status.UNKNOWN), (Fault.CLOSE, Status.ERROR), (Fault.NONE, Status.FREE),
        ]],
    )  # fmt: skip
    async def test_every_fault_ends_within_the_timeout(
        self, fake_clamd: FakeClamd, fake_stand: Stand, fault: Fault, status: Status
    ) -> None:
        """Whatever the engine does behind a standing proof, a check ends in time and in its status."""
        fake_clamd.fault = fault
        antivirus = make_antivirus(Endpoint([fake_stand.engine], terms(most=100_000)), timeout=0.3)
        await antivirus.start()
        began = asyncio.get_running_loop().time()
        assert (await antivirus.check(MemoryBody(b"x" * 1000))).status is status
        assert asyncio.get_running_loop().time() - began < 2
        await antivirus.close()

    async def test_an_engine_gone_blind_on_the_wire_is_noticed(self, fake_clamd: FakeClamd, fake_stand: Stand) -> None:
        """A server that suddenly says OK to EICAR becomes error with the next canary."""
        endpoint = Endpoint([fake_stand.engine], terms(most=100_000, canary=0.05))
        antivirus = make_antivirus(endpoint)
        await antivirus.start()
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        fake_clamd.fault, fake_clamd.blind_to_eicar = Fault.BLIND, True
        await asyncio.wait_for(fallen(endpoint), 5)
        assert (await antivirus.check(CLEAN)).status is Status.ERROR
        await antivirus.close()
