"""One command to clamd on bare sockets, before a peer that real clamds only seldom are."""

from __future__ import annotations

import asyncio
from pathlib import Path

from policy.address import Address
from scanners.body import SparseBody
from scanners.clamd.replies import TIMED_OUT
from scanners.clamd.wire import send_stream

LARGE = SparseBody(8 << 20, [])


async def test_a_clamd_that_has_spoken_and_takes_no_more(tmp_path: Path) -> None:
    """On a Unix socket nothing but its end wakes a sender that waits for room: the reply ends the check, not the
    deadline."""
    given_up = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(TIMED_OUT)
        await given_up.wait()
        writer.close()

    path = tmp_path / "clamd"
    async with await asyncio.start_unix_server(speak, path, limit=1024):
        try:
            async with asyncio.timeout(5):
                said = await send_stream(Address(unix=str(path)), LARGE)
        finally:
            given_up.set()
    assert said.reply == TIMED_OUT
    assert not said.delivered
