"""A whole antivirus against a real clamd in trouble: never free by accident, and well again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import pytest

from policy.address import Address
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.clamd.net import ClamavNet, Transport
from scanners.endpoint import Endpoint
from scanners.specimens import EICAR
from tests.real.clamd_server import ClamdServer, run_clamd
from tests.scanners.scripted import CLEAN, INFECTED, make_antivirus, terms

pytestmark = pytest.mark.clamd

MIB = 1 << 20


async def started(server: ClamdServer, *, within: float = 10, canary: float | None = 30) -> Antivirus:
    """By descriptor where that works, else by stream, as the policy's `transport: auto`."""
    engines = [ClamavNet(server.unix, road) for road in (Transport.FILDES, Transport.INSTREAM)]
    endpoint = Endpoint(engines, terms(most=MIB, timeout=within, canary=canary))
    antivirus = make_antivirus(endpoint, timeout=within, most=MIB)
    await antivirus.start()
    return antivirus


async def check_many(antivirus: Antivirus, count: int) -> list[ScanReport]:
    """Every other object is infected; all different, lest a cache of clamd's help."""
    bodies = [MemoryBody(os.urandom(500) + (EICAR if i % 2 else b"")) for i in range(count)]
    async with asyncio.TaskGroup() as tasks:
        checks = [tasks.create_task(antivirus.check(body)) for body in bodies]
    return [check.result() for check in checks]


def assert_honest(reports: list[ScanReport]) -> None:
    """No infected object is anything but found or an error, no clean one is found."""
    for number, report in enumerate(reports):
        right = Status.FOUND if number % 2 else Status.FREE
        assert report.status in (right, Status.ERROR), report


async def recovered(antivirus: Antivirus, within: float = 5) -> None:
    """Returns once the engine is proven again, by itself and in time."""
    async with asyncio.timeout(within):
        while not antivirus.endpoints[0].proven:  # noqa: ASYNC110  (a real server: there is no event to wait for)
            await asyncio.sleep(0.01)


async def test_two_hundred_checks_against_two_threads() -> None:
    """More checks than clamd has threads and queue for wait with us, in order, and are all answered."""
    with run_clamd({"MaxThreads": "2", "MaxQueue": "10"}) as server:
        antivirus = await started(server)
        reports = await check_many(antivirus, 200)
        await antivirus.close()
    assert [r.status for r in reports] == [Status.FREE, Status.FOUND] * 100


async def test_twenty_reloads_in_five_hundred_checks(real_clamd: ClamdServer) -> None:
    """Reloads change no verdict."""
    antivirus = await started(real_clamd)
    for _ in range(20):
        real_clamd.command(b"RELOAD")
        reports = await check_many(antivirus, 25)
        assert [r.status for r in reports] == [Status.FREE, Status.FOUND] * 12 + [Status.FREE]
    await antivirus.close()


async def test_killed_during_checks_and_started_again() -> None:
    """kill -9 in the middle is errors; the new clamd on the old socket is used without our restart."""
    with run_clamd() as server:
        antivirus = await started(server)
        checking = asyncio.get_running_loop().create_task(check_many(antivirus, 100))
        await asyncio.wait([checking], timeout=0.01)
        server.signal(signal.SIGKILL)
        assert_honest(await checking)
        assert (await antivirus.check(CLEAN)).status is Status.ERROR
        server.start()
        await recovered(antivirus)
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        await antivirus.close()


async def test_stopped_and_continued() -> None:
    """A clamd that hangs is an error within the timeout; once it goes on, so do the checks."""
    with run_clamd() as server:
        antivirus = await started(server, within=0.3)
        server.signal(signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        reports = await check_many(antivirus, 20)
        assert [r.status for r in reports] == [Status.ERROR] * 20
        assert asyncio.get_running_loop().time() - began < 3
        server.signal(signal.SIGCONT)
        reports = [await antivirus.check(CLEAN) for _ in range(3)]
        assert reports[-1].status is Status.FREE
        await antivirus.close()


async def test_a_vanished_temporary_directory_is_noticed() -> None:
    """clamd says OK to everything then: the canary makes that an error, whatever the transport."""
    with run_clamd() as server:
        antivirus = await started(server, canary=0.1)
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        server.temporary.rmdir()
        await asyncio.wait([asyncio.get_running_loop().create_task(asyncio.sleep(0.5))])
        archive = MemoryBody(b"clean")
        assert (await antivirus.check(archive)).status is Status.ERROR
        server.temporary.mkdir()
        await recovered(antivirus)
        assert (await antivirus.check(archive)).status is Status.FREE
        await antivirus.close()


async def test_strangers_that_fill_the_queue() -> None:
    """Idle connections of others starve clamd: errors in time, and well again when they are gone."""
    with run_clamd({"MaxThreads": "2", "MaxQueue": "4", "CommandReadTimeout": "30"}) as server:
        antivirus = await started(server, within=0.5)
        strangers = [await asyncio.open_connection(server.tcp.host, server.tcp.port) for _ in range(8)]
        assert_honest(await check_many(antivirus, 10))
        for _, writer in strangers:
            writer.close()
            await writer.wait_closed()
        reports = [await antivirus.check(INFECTED) for _ in range(3)]
        assert reports[-1].status is Status.FOUND
        await antivirus.close()


async def test_a_full_backlog() -> None:
    """A stopped clamd whose backlog is full: errors within the timeout, no wrong verdict, and well again by itself."""
    with run_clamd() as server:
        antivirus = await started(server, within=0.5)
        server.signal(signal.SIGSTOP)
        strangers: list[socket.socket] = []
        with contextlib.suppress(BlockingIOError):
            while len(strangers) < 5000:
                strangers.append(socket.socket(socket.AF_UNIX))
                strangers[-1].setblocking(False)
                strangers[-1].connect(str(server.unix))
        began = asyncio.get_running_loop().time()
        reports = await check_many(antivirus, 10)
        assert [r.status for r in reports] == [Status.ERROR] * 10
        assert asyncio.get_running_loop().time() - began < 3
        for stranger in strangers:
            stranger.close()
        server.signal(signal.SIGCONT)
        await recovered(antivirus, within=8)
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        await antivirus.close()


async def test_reloads_under_load(real_clamd: ClamdServer) -> None:
    """Twenty reloads while five hundred checks are under way and queued change no verdict."""
    antivirus = await started(real_clamd)
    checking = asyncio.get_running_loop().create_task(check_many(antivirus, 500))
    for _ in range(20):
        await asyncio.to_thread(real_clamd.command, b"RELOAD")
    assert [r.status for r in await checking] == [Status.FREE, Status.FOUND] * 250
    await antivirus.close()


async def test_of_two_one_is_killed_under_load() -> None:
    """No check fails: those that were with the dead one are asked of the other, which had room."""
    with run_clamd() as first, run_clamd() as second:
        endpoints = [
            Endpoint([ClamavNet(server.unix, Transport.FILDES)], terms(most=MIB, timeout=10))
            for server in (first, second)
        ]
        antivirus = make_antivirus(*endpoints, timeout=10, most=MIB)
        await antivirus.start()
        checking = asyncio.get_running_loop().create_task(check_many(antivirus, 400))
        while not all(e.in_flight for e in endpoints):  # noqa: ASYNC110  (real servers)
            await asyncio.sleep(0)
        first.signal(signal.SIGKILL)
        assert [r.status for r in await checking] == [Status.FREE, Status.FOUND] * 200
        assert not endpoints[0].proven
        assert endpoints[1].proven
        await antivirus.close()


async def test_a_dead_address_beside_a_live_one(real_clamd: ClamdServer) -> None:
    """Of two endpoints one may be down."""
    engines = [
        ClamavNet(Address(host="127.0.0.1", port=1), Transport.INSTREAM),
        ClamavNet(real_clamd.tcp, Transport.INSTREAM),
    ]
    antivirus = make_antivirus(*(Endpoint([e], terms(most=MIB)) for e in engines), most=MIB)
    await antivirus.start()
    assert [r.status for r in await check_many(antivirus, 4)] == [Status.FREE, Status.FOUND] * 2
    await antivirus.close()
