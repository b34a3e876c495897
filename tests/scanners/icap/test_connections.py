"""Which connections are kept, for how long, and in what order they are waited for."""

from __future__ import annotations

import asyncio

import pytest

from scanners.fake_icap import FakeIcap
from scanners.icap.connections import IDLE_LIMIT, Connections
from scanners.icap.requests import make_options
from scanners.icap.talks import OptionsTalk
from scanners.icap.wire import Connection


async def ask(connection: Connection) -> None:
    """One OPTIONS."""
    talk = OptionsTalk()
    connection.begin(talk)
    await connection.send(make_options("x", "/avscan"))
    await connection.wait(lambda: talk.over)
    assert talk.failure is None


@pytest.fixture
def connections(fake_icap: FakeIcap) -> Connections:
    """To the fake."""
    return Connections(fake_icap.address, None)


async def test_the_last_one_is_used_first(connections: Connections) -> None:
    """A connection that was given back is taken again; its repr tells its state."""
    one, two = await connections.take(), await connections.take()
    await ask(one)
    await ask(two)
    connections.give(one)
    connections.give(two)
    assert repr(two) == "<Connection idle, talks: 1>"
    assert repr(connections).endswith("0 used, 2 idle, 0 waiting>")
    assert await connections.take() is two
    assert await connections.take() is one
    for used in (one, two):
        connections.give(used)
    connections.close()


async def test_fresh_is_fresh(connections: Connections) -> None:
    """A retry must not meet the next dead connection."""
    one = await connections.take()
    await ask(one)
    connections.give(one)
    two = await connections.take(fresh=True)
    assert two is not one
    connections.give(two)
    connections.close()


async def test_without_a_whole_talk_it_is_closed(fake_icap: FakeIcap, connections: Connections) -> None:
    """Whatever was left half-way is not used again."""
    connection = await connections.take()
    connection.begin(OptionsTalk())
    connections.give(connection)
    assert repr(connections).endswith("0 used, 0 idle, 0 waiting>")


async def test_idle_ones_are_few(fake_icap: FakeIcap, connections: Connections) -> None:
    """No more than the limit is kept."""
    taken = [await connections.take() for _ in range(IDLE_LIMIT + 3)]
    for connection in taken:
        await ask(connection)
    for connection in taken:
        connections.give(connection)
    assert repr(connections).endswith(f"0 used, {IDLE_LIMIT} idle, 0 waiting>")
    connections.close()


async def test_words_that_nobody_asked_for(fake_icap: FakeIcap, connections: Connections) -> None:
    """A server that speaks on an idle connection has spoilt it."""
    connection = await connections.take()
    await ask(connection)
    connections.give(connection)
    connection.get_buffer(-1)[:1] = b"x"
    connection.buffer_updated(1)
    other = await connections.take()
    assert other is not connection
    connections.give(other)
    connections.close()


async def test_the_limit_counts_idle_ones(fake_icap: FakeIcap, connections: Connections) -> None:
    """A new connection beside idle ones closes one of them."""
    connections.limit = 1
    one = await connections.take()
    await ask(one)
    connections.give(one)
    two = await connections.take(fresh=True)
    async with asyncio.timeout(5):
        await one.wait(lambda: one.lost)
    connections.give(two)
    connections.close()


async def test_who_waits_is_served_in_order(connections: Connections) -> None:
    """First come, first served; whoever gives up is passed over."""
    connections.limit = 1
    order: list[int] = []

    async def use(number: int) -> None:
        connection = await connections.take()
        order.append(number)
        await ask(connection)
        connections.give(connection)

    loop = asyncio.get_running_loop()
    first = await connections.take()
    waiting = [loop.create_task(use(number)) for number in range(4)]
    await asyncio.wait(waiting, timeout=0.01)
    waiting[1].cancel()
    connections.give(first)
    await asyncio.wait(waiting)
    assert order == [0, 2, 3]
    assert repr(connections).endswith("0 used, 1 idle, 0 waiting>")
    connections.close()


async def test_a_turn_that_comes_with_the_cancellation_is_passed_on(connections: Connections) -> None:
    """Nobody's turn is lost."""
    connections.limit = 1
    loop = asyncio.get_running_loop()
    first = await connections.take()
    waiting = [loop.create_task(connections.take()) for _ in range(2)]
    await asyncio.wait(waiting, timeout=0.01)
    connections.give(first)
    waiting[0].cancel()
    async with asyncio.timeout(5):
        second = await waiting[1]
    connections.give(second)
    assert waiting[0].cancelled()
    assert repr(connections).endswith("0 used, 0 idle, 0 waiting>")


async def test_a_failed_connection_gives_its_place_back() -> None:
    """Nobody there: the place in the limit is free again."""
    async with FakeIcap() as fake:
        connections = Connections(fake.address, None)
    connections.limit = 1
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await connections.take()
    assert repr(connections).endswith("0 used, 0 idle, 0 waiting>")
