"""How long a client may keep us waiting, on a clock of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from h2.frame_buffer import FrameBuffer

from addons.visit import Visit
from policy.model.gateway import Limits

LIMITS = Limits.model_validate({"header": "3s", "idle": "10s"})
pytestmark = pytest.mark.looptime


class Peer:
    """A connection, as far as a visit asks it."""

    def __init__(self) -> None:
        self.heard_at: float | None = None
        self.cut_at: float | None = None

    def listen_anew(self) -> None:
        self.heard_at = None

    def hear(self) -> None:
        """A byte comes."""
        if self.heard_at is None:
            self.heard_at = asyncio.get_running_loop().time()

    def cut_connection(self, *, reset: bool) -> None:
        assert self.cut_at is None
        self.cut_at = asyncio.get_running_loop().time()


def visit(peer: Peer) -> Visit:
    return Visit(peer, LIMITS, "a client")  # type: ignore[arg-type]  # as far as it is asked


def h2(frames: FrameBuffer) -> Any:
    """The layer of a connection that speaks HTTP/2."""
    return SimpleNamespace(h2_conn=SimpleNamespace(incoming_buffer=frames, stream_buffers={}))


async def test_the_first_headers_are_waited_for_from_the_beginning() -> None:
    """Byte for byte or in silence: after `header` it is over."""
    for heard in (True, False):
        began, peer = asyncio.get_running_loop().time(), Peer()
        visit(peer)
        for _ in range(6):
            if heard:
                peer.hear()
            await asyncio.sleep(1)
        assert peer.cut_at == pytest.approx(began + 3)


async def test_an_exchange_under_way_stops_the_clocks() -> None:
    """However long it takes; then `idle` counts from its end."""
    peer, stream = Peer(), object()
    one = visit(peer)
    one.begin(stream, None)
    await asyncio.sleep(100)
    assert peer.cut_at is None
    one.end(stream)
    await asyncio.sleep(20)
    assert peer.cut_at == pytest.approx(110)


async def test_further_headers_are_waited_for_from_their_first_byte() -> None:
    """A connection that was kept may be quiet for longer than `header`, but not talk for longer."""
    peer, stream = Peer(), object()
    one = visit(peer)
    one.begin(stream, None)
    peer.hear()
    one.end(stream)
    await asyncio.sleep(5.5)
    assert peer.cut_at is None
    peer.hear()
    await asyncio.sleep(20)
    assert peer.cut_at == pytest.approx(8.5)


async def test_talk_that_is_no_request_does_not_outlast_idle() -> None:
    """A first byte shortly before the end of `idle` does not begin a longer wait."""
    peer, stream = Peer(), object()
    one = visit(peer)
    one.begin(stream, None)
    one.end(stream)
    await asyncio.sleep(9)
    peer.hear()
    await asyncio.sleep(20)
    assert peer.cut_at == pytest.approx(10)


async def test_one_of_several_exchanges_is_enough() -> None:
    """With HTTP/2 the connection is quiet when the last one is over, and what is over twice is over once."""
    peer, streams = Peer(), [object(), object()]
    one = visit(peer)
    for stream in streams:
        one.begin(stream, None)
    one.end(streams[0])
    one.end(streams[0])
    await asyncio.sleep(50)
    assert (peer.cut_at, one.is_busy) == (None, True)
    one.end(streams[1])
    assert not one.is_busy
    one.close()


async def test_a_tunnel_begins_anew() -> None:
    """After CONNECT the first headers inside are waited for, not idleness."""
    peer, stream = Peer(), object()
    one = visit(peer)
    one.begin(stream, None)
    await asyncio.sleep(60)
    one.end(stream, tunnel=True)
    await asyncio.sleep(20)
    assert peer.cut_at == pytest.approx(63)


async def test_a_ping_of_http2_is_no_request() -> None:
    """Whole frames between two requests begin no wait for headers; half a frame does."""
    peer, stream, frames = Peer(), object(), FrameBuffer()
    one = visit(peer)
    one.begin(stream, h2(frames))
    one.end(stream)
    peer.hear()
    await asyncio.sleep(5.2)
    assert peer.cut_at is None
    frames._data += b"\0\0"
    peer.hear()
    await asyncio.sleep(20)
    assert peer.cut_at == pytest.approx(8.2)


async def test_what_a_closed_window_holds_back_is_under_way() -> None:
    """A client of HTTP/2 that has yet to take the end of a body is not idle."""
    peer, stream, protocol = Peer(), object(), h2(FrameBuffer())
    one = visit(peer)
    one.begin(stream, protocol)
    one.end(stream)
    protocol.h2_conn.stream_buffers = {1: deque(["held back"])}
    await asyncio.sleep(50)
    assert (peer.cut_at, one.is_busy) == (None, True)
    one.close()


async def test_who_has_left_is_not_cut() -> None:
    """Closing a visit, twice, takes its timer away."""
    peer = Peer()
    one = visit(peer)
    one.close()
    one.close()
    await asyncio.sleep(50)
    assert peer.cut_at is None
    assert repr(one) == "Visit(a client, quiet, closed)"
