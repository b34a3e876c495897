"""An origin that says any bytes and closes, and keeps whatever came.

Rules of this file: a request's end is found leniently, and never waited for longer than `QUIET`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

QUIET = 0.3  # seconds without a byte after which an odd upload is taken for complete
THANKS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nthanks"


class WireOrigin:
    """`answer` gives the bytes for a path, None for an upload, which is thanked for. Lives in one event loop."""

    def __init__(self, answer: Callable[[str], bytes | None]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self.port = 0
        self.got: dict[str, bytes] = {}  # path -> what came, head and all

    async def start(self) -> None:
        """Bind a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode("latin-1")
            self.got[path] = self.got.get(path, b"") + head
            reply = self._answer(path)
            if reply is None:
                await self._take_upload(path, head, reader)
                reply = THANKS
            writer.write(reply)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _take_upload(self, path: str, head: bytes, reader: asyncio.StreamReader) -> None:
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        body = b""
        while not (length and len(body) >= int(length[1])) and not (not length and body.endswith(b"\n0\r\n\r\n")):
            try:
                async with asyncio.timeout(QUIET):
                    piece = await reader.read(65536)
            except TimeoutError:
                break
            if not piece:
                break
            body += piece
            self.got[path] += piece
