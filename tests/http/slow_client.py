"""Clients that never complete the headers of a request: a byte now and then, or none at all.

Rules of this file: a client notes when it began and when it was cut, in the loop's time; it never goes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

HEAD = b"GET http://127.0.0.1/never HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Padding: " + b"x" * 10_000


@dataclass(slots=True)
class Slow:
    """One client. `lasted` is how long it was served, seconds; `answer` what it was told."""

    lasted: float = 0.0
    answer: bytes = b""


async def dawdle(port: int, every: float, *, first: bytes = b"", head: bytes = HEAD) -> Slow:
    """Say `first` at once, then a byte of the head `every` so many seconds, until the gateway ends it."""
    loop, slow = asyncio.get_running_loop(), Slow()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()
    sending = loop.create_task(_send(writer, first, head, every))
    try:
        with contextlib.suppress(ConnectionError):
            slow.answer = await reader.read()
        slow.lasted = loop.time() - began
    finally:
        sending.cancel()
        writer.transport.abort()
    return slow


async def _send(writer: asyncio.StreamWriter, first: bytes, head: bytes, every: float) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(first)
        for byte in head if every else b"":
            writer.write(bytes([byte]))
            await asyncio.sleep(every)
