"""How much a peer has yet to take."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy.connection import Connection

from addons.wire.receiver import H2_BACKLOG, Receiver, ReceiverStuck


class Transport:
    def __init__(self) -> None:
        self.buffered, self.aborted = 0, False

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 16, 64

    def abort(self) -> None:
        self.aborted = True


class Writer(asyncio.StreamWriter):
    """A peer that takes `rate` bytes a second, and into whose buffer others may write, too."""

    def __init__(self, rate: float) -> None:
        self._transport, self.rate = cast(Any, Transport()), rate

    def is_closing(self) -> bool:
        return False

    async def drain(self) -> None:
        while self._transport.buffered > 16:
            await asyncio.sleep(0.1)
            self._transport.buffered = max(0, self._transport.buffered - self.rate / 10)

    def __del__(self, *args: object) -> None:
        """Nothing was opened."""


def make(rate: float, buffered: int) -> tuple[Receiver, Transport]:
    writer, connection = Writer(rate), object()
    writer._transport.buffered = buffered
    handler = SimpleNamespace(transports={connection: SimpleNamespace(writer=writer)})
    return Receiver(cast(Any, handler), cast(Connection, connection)), writer._transport


@pytest.mark.looptime
async def test_a_slow_peer_is_a_live_one() -> None:
    """Taking bytes at all is enough, however long it takes."""
    receiver, _ = make(rate=5, buffered=1000)
    began = asyncio.get_running_loop().time()
    await receiver.drained(stall=10)
    assert asyncio.get_running_loop().time() - began > 100
    assert not receiver.is_busy


@pytest.mark.looptime
async def test_a_stuck_peer_is_told() -> None:
    """Without a byte taken the wait ends after `stall`, and aborting closes the connection."""
    receiver, transport = make(rate=0, buffered=1000)
    with pytest.raises(ReceiverStuck):
        await receiver.drained(stall=10)
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=1.1)
    receiver.abort()
    assert transport.aborted


@pytest.mark.looptime
async def test_other_streams_of_the_connection_hide_no_progress() -> None:
    """A buffer that others fill while the peer takes from it is not stuck."""
    receiver, transport = make(rate=10, buffered=100)

    async def others() -> None:
        for _ in range(6):
            await asyncio.sleep(7)
            transport.buffered += 80

    filling = asyncio.get_running_loop().create_task(others())
    await receiver.drained(stall=10)
    await filling


@pytest.mark.looptime
async def test_http_2_has_its_own_buffer() -> None:
    """A stream whose window is shut is waited for, by mitmproxy's own number of the stream, and not aborted."""
    receiver, transport = make(rate=10, buffered=0)
    queue = [SimpleNamespace(data=b"x" * (H2_BACKLOG + 1))]
    protocol = SimpleNamespace(h2_conn=SimpleNamespace(stream_buffers={7: queue}), our_stream_id={3: 7})
    receiver.bind_stream(cast(Any, protocol), 3)
    assert receiver.is_busy
    with pytest.raises(ReceiverStuck):
        await receiver.drained(stall=1)
    receiver.abort()
    assert not transport.aborted
    queue.clear()
    await receiver.drained(stall=1)


async def test_a_reset_is_asked_of_the_real_socket() -> None:
    """After reset_on_close the peer sees a reset instead of an end."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda r, w: accepted.set_result(w), "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    writer, connection = await accepted, object()
    handler = SimpleNamespace(transports={connection: SimpleNamespace(writer=writer)})
    Receiver(cast(Any, handler), cast(Connection, connection)).reset_on_close()
    writer.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    server.close()


async def test_a_peer_that_is_gone_has_nothing_left() -> None:
    """Without a connection nothing is waited for and nothing fails."""
    receiver = Receiver(None, cast(Connection, object()))
    await receiver.drained(1)
    receiver.abort()
    receiver.abort_at_once()
    receiver.reset_on_close()
    assert not receiver.is_busy
