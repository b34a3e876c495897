"""The client's data connection."""

import asyncio
import contextlib
import socket

import pytest

from ftpgw.data_channel import PassiveChannel, open_active


def connect(port: int, source: str) -> socket.socket:
    """A connection to our listener, from that address."""
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))


async def test_a_thief_gets_nothing() -> None:
    """Who comes from another address is disconnected, and the owner is still served."""
    channel = PassiveChannel("127.0.0.1", "127.0.0.1", None)
    waiting = asyncio.create_task(channel.connect(5))  # noqa: TID251 - held here and awaited below
    with contextlib.closing(await asyncio.to_thread(connect, channel.port, "127.0.0.9")) as thief:
        assert await asyncio.to_thread(thief.recv, 1) == b""
        with contextlib.closing(await asyncio.to_thread(connect, channel.port, "127.0.0.1")) as owner:
            met = await waiting
            assert met.getpeername() == owner.getsockname()
            met.close()


async def test_a_listener_serves_one() -> None:
    """After the first connection nobody can connect any more."""
    channel = PassiveChannel("127.0.0.1", "127.0.0.1", None)
    port = channel.port
    with contextlib.closing(await asyncio.to_thread(connect, port, "127.0.0.1")):
        (await channel.connect(5)).close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(connect, port, "127.0.0.1")


async def test_nobody_comes() -> None:
    """The wait is bounded."""
    channel = PassiveChannel("127.0.0.1", "127.0.0.1", None)
    with pytest.raises(TimeoutError):
        await channel.connect(0.01)


async def test_a_range_that_is_used_up() -> None:
    """No port is free: an OSError, and nothing stays open."""
    first = PassiveChannel("127.0.0.1", "127.0.0.1", None)
    with pytest.raises(OSError, match="no port"):
        PassiveChannel("127.0.0.1", "127.0.0.1", (first.port, first.port))
    first.close()


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 2000), ("127.0.0.1", 1023), ("::1", 2000)])
def test_no_bounce(host: str, port: int) -> None:
    """PORT reaches the peer alone, and no port of a system's service."""
    with pytest.raises(ValueError, match="data connections"):
        open_active(host, port, "127.0.0.1", "127.0.0.1")
