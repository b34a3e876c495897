"""Verdicts remembered by content: in a whole antivirus, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from policy.address import Address
from policy.verdict import Coverage, ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.auto import LOOK_AGAIN, AutoPool
from scanners.body import MemoryBody, SparseBody
from scanners.cache import Key, VerdictCache
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.keeper import POLL, SETTLE
from scanners.pool import Pool
from scanners.specimens import EICAR
from tests.scanners.scripted import (
    BROKEN,
    CLEAN,
    FOUND,
    FREE,
    INFECTED,
    ScriptedBuiltin,
    ScriptedEngine,
    after_start,
    terms,
)

pytestmark = pytest.mark.looptime

MIB = 1 << 20


class Hashed:
    """A body that can be hashed, and neither read nor passed on."""

    def __init__(self, like: Body) -> None:
        self.size = like.size
        self.sha256 = like.sha256

    def read(self, offset: int, size: int) -> NoReturn:
        raise AssertionError("read")

    def descriptor(self) -> NoReturn:
        raise AssertionError("opened")


class Dated(ScriptedEngine):
    """An engine whose database can be seen to change."""

    told_stamp = "A"

    async def stamp(self) -> str:
        return self.told_stamp


@contextlib.asynccontextmanager
async def opened(
    *engines: ScriptedEngine, cache: VerdictCache | None = None, most: int = 100 * MIB, concurrency: int = 8
) -> AsyncIterator[Antivirus]:
    """A started antivirus with a cache, a second later, and nothing in `asked`."""
    pool = Pool([Endpoint([e], terms(most=most, concurrency=concurrency)) for e in engines])
    memory = (VerdictCache(free=600, found=86400, entries=1000) if cache is None else cache).section("AV")
    antivirus = Antivirus("AV", pool, timeout=30, max_checked_size=most, cache=memory)
    await antivirus.start()
    await asyncio.sleep(1)
    for engine in engines:
        engine.asked.clear()
    try:
        yield antivirus
    finally:
        await antivirus.close()


def asked_of(engine: ScriptedEngine, body: Body) -> int:
    """How often the engine was asked about a body of that size."""
    return engine.asked.count(body.size)


@pytest.mark.parametrize(("body", "status"), [(CLEAN, Status.FREE), (MemoryBody(b"!" + EICAR), Status.FOUND)])
async def test_the_second_check_is_remembered(body: Body, status: Status) -> None:
    """The same answer, virus and version, said to be cached, and nobody is asked."""
    engine = ScriptedEngine()
    async with opened(engine) as antivirus:
        first, second = await antivirus.check(body), await antivirus.check(body)
    assert (first.status, first.cached, second.cached) == (status, False, True)
    assert (second.status, second.virus, second.version) == (first.status, first.virus, "Scripted 1")
    assert asked_of(engine, body) == 1


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.UNKNOWN, Status.ERROR])
async def test_other_answers_are_never_remembered(status: Status) -> None:
    """Each check of such an object asks the engine."""
    engine = ScriptedEngine(answer=after_start(Answer(status)))
    async with opened(engine) as antivirus:
        for _ in range(3):
            report = await antivirus.check(CLEAN)
            assert (report.status, report.cached) == (status, False)
        assert asked_of(engine, CLEAN) == 3


async def test_a_hit_costs_neither_descriptor_nor_slot() -> None:
    """100 MB are neither read nor opened, and no busy engine is waited for."""
    engine = ScriptedEngine()
    large = SparseBody(100_000_000, [])
    async with opened(engine, concurrency=1) as antivirus:
        await antivirus.check(large)
        engine.seconds = 20
        busy = asyncio.get_running_loop().create_task(antivirus.check(CLEAN))
        await asyncio.sleep(1)
        report = await antivirus.check(Hashed(large))
        assert (report.status, report.cached, report.ms) == (Status.FREE, True, 0)
        await busy


async def test_length_and_content_both_count() -> None:
    """Another length, another content: another check."""
    engine = ScriptedEngine()
    async with opened(engine) as antivirus:
        reports = [await antivirus.check(MemoryBody(data)) for data in (b"aa", b"ab", b"a", b"")]
    assert [r.cached for r in reports] == [False] * 4


async def test_each_status_has_its_time() -> None:
    """`free` is forgotten after ten minutes, `found` after a day."""
    virus = MemoryBody(b"!" + EICAR)
    async with opened(ScriptedEngine()) as antivirus:
        await antivirus.check(CLEAN)
        await antivirus.check(virus)
        await asyncio.sleep(599)
        assert (await antivirus.check(CLEAN)).cached
        await asyncio.sleep(2)
        assert not (await antivirus.check(CLEAN)).cached
        assert (await antivirus.check(virus)).cached
        await asyncio.sleep(86400)
        assert not (await antivirus.check(virus)).cached


async def test_a_time_of_zero_remembers_nothing_of_that_status() -> None:
    """Neither later nor for those who ask at the same time."""
    engine = ScriptedEngine()
    async with opened(engine, cache=VerdictCache(free=0, found=10, entries=10)) as antivirus:
        engine.seconds = 1
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(antivirus.check(CLEAN)) for _ in range(3)]
        assert [c.result().cached for c in checks] == [False] * 3
        assert not (await antivirus.check(CLEAN)).cached


async def test_the_least_recently_used_is_forgotten_first() -> None:
    """Entries are bounded; a hit keeps its entry young."""
    cache = VerdictCache(free=600, found=600, entries=2)
    bodies = [MemoryBody(bytes([n])) for n in range(3)]
    async with opened(ScriptedEngine(), cache=cache) as antivirus:
        for body in (bodies[0], bodies[1], bodies[0], bodies[2]):
            await antivirus.check(body)
        assert len(cache) == 2
        assert [(await antivirus.check(b)).cached for b in (bodies[0], bodies[2], bodies[1])] == [True, True, False]


class TestForgetting:
    """What ends the life of an entry."""

    async def test_a_new_version(self) -> None:
        """Seen at the latest ten seconds later; what was remembered with the old one is not served."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            await antivirus.check(CLEAN)
            engine.told_version = "Scripted 2"
            await asyncio.sleep(POLL + 1)
            report = await antivirus.check(CLEAN)
            assert (report.cached, report.version) == (False, "Scripted 2")
            assert (await antivirus.check(CLEAN)).cached

    async def test_a_version_that_changes_during_the_check(self) -> None:
        """The verdict belongs to the version read before the check, and is not served for the new one."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            engine.seconds = 15
            checking = asyncio.get_running_loop().create_task(antivirus.check(CLEAN))
            await asyncio.sleep(1)
            engine.told_version, engine.seconds = "Scripted 2", 0
            await checking
            assert not (await antivirus.check(CLEAN)).cached

    async def test_a_failed_canary(self) -> None:
        """What a blind engine said is forgotten once it is seen to be blind, though its version is the same."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            await antivirus.check(CLEAN)
            engine.answer = lambda body: FREE
            assert (await antivirus.check(CLEAN)).cached
            await asyncio.sleep(31)
            assert (await antivirus.check(CLEAN)).status is Status.ERROR
            engine.answer = lambda body: None
            await asyncio.sleep(31)
            assert not (await antivirus.check(CLEAN)).cached

    async def test_a_failed_canary_of_another_endpoint(self) -> None:
        """The endpoints of a section are equal: who of them had said it is not known any more."""
        first, second = ScriptedEngine(), ScriptedEngine()
        async with opened(first, second) as antivirus:
            await antivirus.check(CLEAN)
            second.answer = lambda body: FREE
            await asyncio.sleep(31)
            report = await antivirus.check(CLEAN)
            assert (report.status, report.cached) == (Status.FREE, False)

    async def test_a_changed_database(self) -> None:
        """Not served again; and while the engine may still run on the old one, nothing is remembered."""
        engine = Dated()
        async with opened(engine) as antivirus:
            await antivirus.check(CLEAN)
            assert (await antivirus.check(CLEAN)).cached
            engine.told_stamp = "B"
            await asyncio.sleep(POLL + 1)
            for _ in range(2):
                assert not (await antivirus.check(CLEAN)).cached
            await asyncio.sleep(SETTLE)
            await antivirus.check(CLEAN)
            assert (await antivirus.check(CLEAN)).cached

    async def test_a_changed_database_that_is_in_use(self) -> None:
        """The version tells of the reload: from then on verdicts are remembered again."""
        engine = Dated()
        async with opened(engine) as antivirus:
            engine.told_stamp = "B"
            await asyncio.sleep(POLL + 1)
            engine.told_version = "Scripted 2"
            await asyncio.sleep(POLL + 1)
            await antivirus.check(CLEAN)
            assert (await antivirus.check(CLEAN)).cached

    async def test_no_version_is_never_remembered(self) -> None:
        """Nothing would tell of a reload."""
        async with opened(ScriptedEngine(told_version="")) as antivirus:
            await antivirus.check(CLEAN)
            assert not (await antivirus.check(CLEAN)).cached


class TestGates:
    """What comes before the memory."""

    async def test_an_engine_in_doubt_is_asked_for_a_canary_first(self) -> None:
        """After an error nothing remembered is served before EICAR was found again."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            await antivirus.check(CLEAN)
            engine.answer = lambda body: BROKEN
            assert (await antivirus.check(MemoryBody(b"other"))).status is Status.ERROR
            assert (await antivirus.check(CLEAN)).status is Status.ERROR

    async def test_a_limit_proven_since_is_skipped(self) -> None:
        """An object remembered as free is skipped once the engine is known not to look at its size."""
        engine = ScriptedEngine()
        body = SparseBody(2 * MIB, [])
        async with opened(engine) as antivirus:
            assert (await antivirus.check(body)).status is Status.FREE
            engine.limit, engine.told_version = MIB, "Scripted 2"
            await asyncio.sleep(POLL + 1)
            report = await antivirus.check(body)
            assert (report.status, report.cached) == (Status.SKIPPED, False)

    async def test_canaries_are_always_asked(self) -> None:
        """EICAR is remembered as found, and the canary asks all the same."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            await antivirus.check(INFECTED)
            assert (await antivirus.check(INFECTED)).cached
            engine.asked.clear()
            await asyncio.sleep(61)
            assert asked_of(engine, INFECTED) == 2


class TestPools:
    """Several endpoints, one memory."""

    async def test_what_an_equal_endpoint_said_is_served(self) -> None:
        """The same version of the same section: either may have said it."""
        first, second = ScriptedEngine(), ScriptedEngine()
        async with opened(first, second) as antivirus:
            await antivirus.check(CLEAN)
            first.seconds = 20
            busy = asyncio.get_running_loop().create_task(antivirus.check(MemoryBody(b"busy")))
            await asyncio.sleep(1)
            assert (await antivirus.check(CLEAN)).cached
            assert asked_of(second, CLEAN) == 0
            await busy

    async def test_what_an_older_endpoint_said_is_not_served_for_a_newer(self) -> None:
        """Another version is another verdict."""
        first, second = ScriptedEngine(), ScriptedEngine(told_version="Scripted 2")
        async with opened(first, second) as antivirus:
            await antivirus.check(CLEAN)
            first.seconds = 20
            busy = asyncio.get_running_loop().create_task(antivirus.check(MemoryBody(b"busy")))
            await asyncio.sleep(1)
            report = await antivirus.check(CLEAN)
            assert (report.cached, report.version) == (False, "Scripted 2")
            await busy

    async def test_a_retry_on_another_version_is_not_remembered_under_the_first(self) -> None:
        """Begun with one version and answered with another: remembered under neither."""
        first = ScriptedEngine(answer=after_start(BROKEN))
        second = ScriptedEngine(told_version="Scripted 2")
        async with opened(first, second) as antivirus:
            assert (await antivirus.check(CLEAN)).version == "Scripted 2"
            first.answer = lambda body: None
            await asyncio.sleep(31)
            assert not (await antivirus.check(CLEAN)).cached


async def test_a_clamd_that_was_found_later_judges_anew() -> None:
    """What the built-in engine said is not served as clamd's word; each report has its own coverage."""
    engine = ScriptedEngine(answer=lambda body: BROKEN)
    pool = AutoPool(
        [Address(host="h", port=1)], lambda _: Endpoint([engine], terms()), Endpoint([ScriptedBuiltin()], terms())
    )
    memory = VerdictCache(free=600, found=600, entries=10).section("AV")
    antivirus = Antivirus("AV", pool, timeout=30, max_checked_size=MIB, cache=memory)
    await antivirus.start()
    await antivirus.check(CLEAN)
    before = await antivirus.check(CLEAN)
    engine.answer = lambda body: None
    await asyncio.sleep(LOOK_AGAIN + 1)
    after = await antivirus.check(CLEAN)
    again = await antivirus.check(CLEAN)
    assert [(r.cached, r.coverage) for r in (before, after, again)] == [
        (True, Coverage.TEST_SIGNATURES),
        (False, Coverage.FULL),
        (True, Coverage.FULL),
    ]
    await antivirus.close()


class TestSingleFlight:
    """The same bytes under way several times."""

    async def check_many(self, antivirus: Antivirus, count: int) -> list[ScanReport]:
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(antivirus.check(CLEAN)) for _ in range(count)]
        return [check.result() for check in checks]

    async def test_one_check_for_all(self) -> None:
        """Twenty ask, the engine is asked once, nineteen answers are said to be cached."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            engine.seconds = 5
            reports = await self.check_many(antivirus, 20)
            assert asked_of(engine, CLEAN) == 1
        assert {r.status for r in reports} == {Status.FREE}
        assert [r.cached for r in reports].count(True) == 19

    @pytest.mark.parametrize("status", [Status.ERROR, Status.UNKNOWN, Status.SKIPPED])
    async def test_a_leader_without_a_verdict_sends_all_to_their_own(self, status: Status) -> None:
        """What is not remembered is not handed on either."""
        engine = ScriptedEngine(answer=after_start(Answer(status)))
        async with opened(engine) as antivirus:
            engine.seconds = 2
            reports = await self.check_many(antivirus, 4)
            assert asked_of(engine, CLEAN) == 4
        assert [(r.status, r.cached) for r in reports] == [(status, False)] * 4

    async def test_a_cancelled_leader_cancels_nobody(self) -> None:
        """Its client went away; those who waited do their own check and get their verdict."""
        engine = ScriptedEngine()
        async with opened(engine) as antivirus:
            engine.seconds = 5
            loop = asyncio.get_running_loop()
            leader = loop.create_task(antivirus.check(CLEAN))
            await asyncio.sleep(1)
            others = [loop.create_task(antivirus.check(CLEAN)) for _ in range(2)]
            await asyncio.sleep(1)
            leader.cancel()
            await asyncio.wait([leader, *others])
            assert leader.cancelled()
            assert [o.result().status for o in others] == [Status.FREE] * 2

    async def test_a_hanging_leader_is_not_waited_for_to_the_end(self) -> None:
        """After half of its time a check asks for itself, here another endpoint, and is in time."""
        first, second = ScriptedEngine(), ScriptedEngine()
        async with opened(first, second) as antivirus:
            first.seconds = 3600
            loop = asyncio.get_running_loop()
            leader = loop.create_task(antivirus.check(CLEAN))
            await asyncio.sleep(1)
            report = await antivirus.check(CLEAN)
            assert (report.status, report.ms) == (Status.FREE, pytest.approx(15000))
            assert (await leader).status is Status.ERROR


async def test_sections_do_not_share() -> None:
    """Two sections of one opened set have one bound and separate memories."""
    cache = VerdictCache(free=600, found=600, entries=10)
    sections = [cache.section(name) for name in "AB"]
    keys = [section.key(CLEAN, "edition") for section in sections]
    assert isinstance(keys[0], Key)
    cache.remember(keys[0], FREE, "")
    assert sections[0].recall(keys[0]) == FREE
    assert keys[1] is not None
    assert sections[1].recall(keys[1]) is None
    await sections[0].close()
    await sections[0].close()
    assert len(cache) == 1
    await sections[1].close()
    assert len(cache) == 0


async def test_only_verdicts_are_kept() -> None:
    """The cache itself takes nothing but `free` and `found`, whoever asks."""
    cache = VerdictCache(free=600, found=600, entries=10)
    key = cache.section("A").key(CLEAN, "edition")
    assert key is not None
    for status in (Status.ERROR, Status.SKIPPED, Status.UNKNOWN):
        cache.remember(key, Answer(status), "")
    assert cache.recall(key) is None
    cache.remember(key, FOUND, "")
    assert cache.recall(key) == FOUND
    assert repr(cache) == "<VerdictCache 1 of 10 entries>"
