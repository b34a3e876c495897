"""The addon that one would write first, to compare with: buffer the body, ask clamd, block on FOUND.

It is no gateway: uploads, codings, ranges, 101 and every failure are left as mitmproxy has them.
NAIVE_CLAMD names clamd's Unix socket.
"""

from __future__ import annotations

import asyncio
import os

from mitmproxy import http

CLAMD = os.environ["NAIVE_CLAMD"]
CHUNK = 64 * 1024


async def scan(body: bytes) -> bytes:
    """clamd's reply to one INSTREAM of the body."""
    reader, writer = await asyncio.open_unix_connection(CLAMD)
    try:
        writer.write(b"zINSTREAM\0")
        for start in range(0, len(body), CHUNK):
            data = body[start : start + CHUNK]
            writer.write(len(data).to_bytes(4) + data)
            await writer.drain()
        writer.write(bytes(4))
        await writer.drain()
        return await reader.readuntil(b"\0")
    finally:
        writer.close()


async def response(flow: http.HTTPFlow) -> None:
    """Scan every reply that has a body."""
    body = flow.response.content if flow.response else None
    if body and b"FOUND" in await scan(body):
        flow.response = http.Response.make(403, b"virus found\n")
