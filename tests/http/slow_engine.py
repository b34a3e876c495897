"""A tiny clamd whose verdict can be made late: INSTREAM, PING and VERSION over TCP.

Rules of this file: it truly looks for EICAR, so that every start-up proof and canary holds; `delay` may be
changed at any time and is read when a body is complete.
"""

from __future__ import annotations

import asyncio
import contextlib

from tests.http.samples import EICAR


class SlowEngine:
    """Answers after `delay` seconds. `streams` counts bodies received, `open` the connections now."""

    def __init__(self) -> None:
        self.port = 0
        self.delay = 0.0
        self.streams = 0
        self.open = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Bind a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = await reader.readexactly(1)
        end = b"\0" if mark == b"z" else b"\n"
        command = (await reader.readuntil(end))[:-1]
        if command == b"INSTREAM":
            writer.write(await self._scan(reader) + end)
        elif command == b"PING":
            writer.write(b"PONG" + end)
        elif command == b"VERSION":
            writer.write(b"ClamAV 1.4.6/27000/Mon Jan  5 09:00:00 2026" + end)
        else:
            writer.write(b"UNKNOWN COMMAND" + end)
        await writer.drain()

    async def _scan(self, reader: asyncio.StreamReader) -> bytes:
        tail, found = b"", False
        while size := int.from_bytes(await reader.readexactly(4)):
            while size:
                data = await reader.read(min(size, 1 << 18))
                if not data:
                    raise asyncio.IncompleteReadError(b"", size)
                size -= len(data)
                found = found or EICAR in tail + data
                tail = (tail + data)[-len(EICAR) + 1 :]
        self.streams += 1
        if not self.delay:
            return _reply(found)
        # The connection is watched during the delay: a client that goes must be seen to have gone.
        try:
            await asyncio.wait_for(reader.readexactly(1), self.delay)
        except TimeoutError:
            return _reply(found)
        raise ConnectionResetError


def _reply(found: bool) -> bytes:
    return b"stream: Eicar-Test-Signature FOUND" if found else b"stream: OK"
