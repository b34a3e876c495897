"""How long a channel waits for a peer that takes what is sent, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailgw.channel import Channel, PeerGone, PeerSilent


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    """Two ends of one connection."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Channel] = loop.create_future()
    server = await loop.create_server(lambda: Channel(made=made.set_result), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, near = await loop.create_connection(Channel, "127.0.0.1", port)
    far = await made
    yield near, far
    near.abort()
    far.abort()
    server.close()
    await server.wait_closed()


async def test_who_takes_nothing_is_silent(pair: tuple[Channel, Channel]) -> None:
    """PeerSilent, once what was sent has filled every buffer on the way and the time is over."""
    near, _ = pair
    near.write(bytes(64 << 20))
    with pytest.raises(PeerSilent):
        await near.drain(0.05)


async def test_who_takes_everything_costs_no_clock(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is nothing to wait for, no timer is made."""
    near, _ = pair
    monkeypatch.setattr(asyncio, "timeout", None)
    near.write(b"250 2.0.0 Ok\r\n")
    await near.drain(5)


async def test_who_has_gone_is_gone(pair: tuple[Channel, Channel]) -> None:
    """PeerGone, though nothing waits to be sent."""
    near, _ = pair
    near.abort()
    async with asyncio.timeout(10):
        await near.wait_lost()
    with pytest.raises(PeerGone):
        await near.drain(5)
