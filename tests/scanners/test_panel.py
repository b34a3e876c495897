"""Several engines on one document."""

from __future__ import annotations

import asyncio

import pytest

from policy.verdict import Merge, ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.panel import check_document
from tests.scanners.scripted import (
    BROKEN,
    CLEAN,
    FOUND,
    FREE,
    INFECTED,
    ScriptedBuiltin,
    ScriptedEngine,
    after_start,
    make_antivirus,
    terms,
)

pytestmark = pytest.mark.looptime


async def started(answer: Answer, seconds: float = 0) -> Antivirus:
    engine = ScriptedEngine(answer=after_start(answer))
    antivirus = make_antivirus(Endpoint([engine], terms()))
    await antivirus.start()
    await asyncio.sleep(1)
    engine.seconds = seconds
    return antivirus


async def close(*antiviruses: Antivirus) -> None:
    for antivirus in antiviruses:
        await antivirus.close()


async def test_no_engine_is_skipped() -> None:
    """A document without engines was not checked."""
    assert await check_document([], CLEAN, Merge.KERNUN) == (Status.SKIPPED, ())


@pytest.mark.parametrize(
    ("answers", "kernun", "strict"),
    [
        ([FREE], Status.FREE, Status.FREE),
        ([FREE, FOUND], Status.FOUND, Status.FOUND),
        ([FREE, BROKEN], Status.FREE, Status.ERROR),
        ([BROKEN, Answer(Status.SKIPPED), Answer(Status.UNKNOWN)], Status.SKIPPED, Status.ERROR),
    ],
)
async def test_reports_merge_as_the_policy_says(answers: list[Answer], kernun: Status, strict: Status) -> None:
    """The status comes from the merge, the reports stand in the order of the engines."""
    panel = [await started(answer) for answer in answers]
    status, reports = await check_document(panel, CLEAN, Merge.KERNUN)
    assert (status, [r.status for r in reports]) == (kernun, [a.status for a in answers])
    assert (await check_document(panel, CLEAN, Merge.STRICT))[0] is strict
    await close(*panel)


async def test_engines_run_in_parallel_and_are_all_awaited() -> None:
    """The slowest engine sets the time, also where another has found something already."""
    panel = [await started(FOUND), await started(FREE, seconds=5), await started(FREE, seconds=5)]
    began = asyncio.get_running_loop().time()
    _, reports = await check_document(panel, CLEAN, Merge.KERNUN)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5)
    assert [r.status for r in reports] == [Status.FOUND, Status.FREE, Status.FREE]
    await close(*panel)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_crash_is_that_engines_error(count: int) -> None:
    """An antivirus that raises is error, and the others are heard."""

    class Crashing(Antivirus):
        async def check(self, body: Body) -> ScanReport:
            raise RuntimeError("bug")

    sound = await started(FREE)
    crashing = Crashing("BAD", sound._pool, timeout=1, max_checked_size=1)
    panel = [crashing, sound][:count]
    _, reports = await check_document(panel, CLEAN, Merge.STRICT)
    assert (reports[0].antivirus, reports[0].status) == ("BAD", Status.ERROR)
    assert [r.status for r in reports[1:]] == [Status.FREE][: count - 1]
    await close(sound)


async def test_the_built_in_engine_never_stands_in_for_another() -> None:
    """Beside a dead engine the built-in one's free does not count, its found does."""
    builtin = make_antivirus(Endpoint([ScriptedBuiltin()], terms()))
    await builtin.start()
    panel = [await started(BROKEN), builtin]
    assert (await check_document(panel, CLEAN, Merge.KERNUN))[0] is Status.ERROR
    assert (await check_document(panel, INFECTED, Merge.KERNUN))[0] is Status.FOUND
    await close(*panel)


async def test_cancelling_ends_every_check() -> None:
    """A document given up on leaves no check under way."""
    panel = [await started(FREE, seconds=3600) for _ in range(3)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await check_document(panel, CLEAN, Merge.KERNUN)
    assert [a.endpoints[0].in_flight for a in panel] == [0, 0, 0]
    await close(*panel)
