"""The reader of mitmproxy's connections: every byte, in order, and no more than its share of memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.wire.piece_reader import PIECE, PieceReader

SENT = bytes(range(256)) * 40_000  # 10 MB


@contextlib.asynccontextmanager
async def connection() -> AsyncIterator[tuple[PieceReader, asyncio.StreamWriter]]:
    """A reader that was taken over, and who sends to it; both over real sockets."""
    ours, theirs = socket.socketpair()
    reader, _writer = await asyncio.open_connection(sock=ours)
    _reader, sender = await asyncio.open_connection(sock=theirs)
    try:
        yield PieceReader.take_over(reader), sender
    finally:
        sender.close()
        _writer.close()


async def read_all(reader: PieceReader) -> list[bytes]:
    pieces = []
    while piece := await reader.read(65535):
        pieces.append(piece)
    return pieces


async def test_every_byte_comes_in_large_pieces() -> None:
    """A body that comes fast takes a fraction of the reads that mitmproxy would make, and none is above the bound."""
    async with connection() as (reader, sender), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_all(reader))
        sender.write(SENT)
        sender.write_eof()
        pieces = await reading
        assert b"".join(pieces) == SENT
        assert max(map(len, pieces)) <= PIECE
        assert len(pieces) < len(SENT) / 65535
        assert reader.at_eof()


async def test_a_held_reader_holds_its_peer_back() -> None:
    """Nothing is read while it is held, and what waits stays within asyncio's bound and one piece."""
    async with connection() as (reader, sender), asyncio.TaskGroup() as tasks:
        reader.hold()
        reading = tasks.create_task(read_all(reader))
        sender.write(SENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await sender.drain()
        assert not reading.done()
        assert sender.transport.get_write_buffer_size() > len(SENT) / 2
        reader.let_go()
        sender.write_eof()
        assert b"".join(await reading) == SENT


async def test_what_came_before_is_not_lost() -> None:
    """Bytes that asyncio's own buffer held when the reader was taken over come first."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"before ")
    taken = PieceReader.take_over(reader)
    reader.feed_data(b"after")
    reader.feed_eof()
    assert await read_all(taken) == [b"before after"]
    assert PieceReader.take_over(reader) is taken


async def test_a_broken_connection_is_told() -> None:
    """Whoever waits for bytes, and whoever asks later, gets the error."""
    reader = PieceReader.take_over(asyncio.StreamReader())
    asyncio.get_running_loop().call_soon(reader.set_exception, ConnectionResetError("gone"))
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="gone"):
            await reader.read()


async def test_a_cancelled_read_loses_nothing() -> None:
    """mitmproxy cancels its readers; the bytes are there for whoever comes next."""
    reader = PieceReader.take_over(asyncio.StreamReader())
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(reader.read())
        await asyncio.sleep(0)
        waiting.cancel()
        reader.feed_data(b"bytes")
    assert waiting.cancelled()
    assert await reader.read() == b"bytes"


@given(st.lists(st.binary(max_size=400_000), max_size=12))
def test_pieces_go_together_up_to_the_bound(pieces: list[bytes]) -> None:
    """However they came: all of them, in order, no piece above the bound unless it came so."""

    async def pass_through() -> list[bytes]:
        reader = PieceReader.take_over(asyncio.StreamReader())
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        return await read_all(reader)

    read = asyncio.run(pass_through())
    assert b"".join(read) == b"".join(pieces)
    assert all(0 < len(piece) <= PIECE for piece in read)
