"""One check for many who ask the same thing at the same time."""

from __future__ import annotations

import asyncio

import pytest

from scanners.flights import Flights

pytestmark = pytest.mark.looptime


async def lead(flights: Flights[str, str], answer: str | None, seconds: float) -> None:
    with flights.lead("key") as flight:
        await asyncio.sleep(seconds)
        flight.land(answer)


async def test_who_joins_gets_the_leaders_answer() -> None:
    """All who come while the leader is under way get what it lands with; nobody comes later."""
    flights: Flights[str, str] = Flights()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lead(flights, "free", 5))
        await asyncio.sleep(1)
        joined = [tasks.create_task(flights.join("key", 10)) for _ in range(3)]
    assert [j.result() for j in joined] == ["free"] * 3
    assert (len(flights), await flights.join("key", 10)) == (0, None)


async def test_a_cancelled_leader_leaves_nothing_and_harms_nobody() -> None:
    """Those who joined learn at once that there is nothing for them."""
    flights: Flights[str, str] = Flights()
    loop = asyncio.get_running_loop()
    leading = loop.create_task(lead(flights, "free", 3600))
    await asyncio.sleep(1)
    joined = loop.create_task(flights.join("key", 60))
    await asyncio.sleep(1)
    leading.cancel()
    assert await joined is None
    assert loop.time() == pytest.approx(2)


async def test_a_cancelled_joiner_does_not_end_the_flight() -> None:
    """The others still get their answer."""
    flights: Flights[str, str] = Flights()
    loop = asyncio.get_running_loop()
    leading = loop.create_task(lead(flights, "free", 5))
    await asyncio.sleep(1)
    joined = [loop.create_task(flights.join("key", 60)) for _ in range(2)]
    await asyncio.sleep(1)
    joined[0].cancel()
    assert await joined[1] == "free"
    assert joined[0].cancelled()
    await leading


async def test_patience_ends() -> None:
    """Nobody waits for a leader longer than he wishes to."""
    flights: Flights[str, str] = Flights()
    loop = asyncio.get_running_loop()
    leading = loop.create_task(lead(flights, "free", 60))
    await asyncio.sleep(1)
    assert await flights.join("key", 10) is None
    assert loop.time() == pytest.approx(11)
    await leading


async def test_a_second_leader_flies_alone() -> None:
    """Where the same is under way, whoever leads all the same takes nobody along and disturbs nobody."""
    flights: Flights[str, str] = Flights()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lead(flights, "first", 5))
        await asyncio.sleep(1)
        tasks.create_task(lead(flights, "second", 1))
        await asyncio.sleep(2)
        joined = tasks.create_task(flights.join("key", 10))
    assert joined.result() == "first"
