"""The stage of conversations: a gateway, a server by script and an engine by delay, all on the test's own loop.

Rules of this file: real sockets, real time, but nothing that takes long; every wait is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from ftpgw.hosted import FtpHosted
from tests.fakes.ftp_server import FakeFtpServer
from tests.ftp.policies import policy, proxy
from tests.http.policies import clamav
from tests.http.slow_engine import SlowEngine

_WITHIN = 10.0


class Talk:
    """A client's control connection, as an asynchronous context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._data: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.welcome = await self.reply()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for writer in (self.writer, *self._data):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def login(self) -> Self:
        """USER, PASS and TYPE I."""
        for line in ("USER anonymous", "PASS secret-word", "TYPE I"):
            await self.ask(line)
        return self

    def send(self, line: str) -> None:
        """One line, not waited for."""
        self.writer.write(line.encode() + b"\r\n")

    async def ask(self, line: str) -> str:
        """One line and its reply."""
        self.send(line)
        return await self.reply()

    async def reply(self) -> str:
        """The next reply's last line; "" at the end."""
        async with asyncio.timeout(_WITHIN):
            while True:
                line = (await self.reader.readline()).decode().rstrip("\r\n")
                if not line or re.match(r"\d{3} ", line):
                    return line

    async def open_data(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """EPSV, and the connection to it."""
        match = re.search(r"\|\|\|(\d+)\|", await self.ask("EPSV"))
        assert match is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", int(match[1]))
        self._data.append(writer)
        return reader, writer


class Stage:
    """`open` starts the gateway; `upstream` and `engine` run already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.upstream, self.engine = FakeFtpServer(), SlowEngine()
        self._hosted: FtpHosted | None = None
        self.port = 0

    async def open(
        self, acl: str = "", *, before: str = "", top: str = "", more: str = "", server: bool = True, **engine: str
    ) -> Talk:
        """A session with a gateway of that policy (`tests.ftp.policies`), not begun."""
        behind = self.upstream.port if server else None
        text = policy(proxy(behind, acl, before=before, more=more), clamav(self.engine.port, **engine), top)
        file = self._folder / "policy.yaml"
        file.write_text(text + f"audit: {{to: '{self._folder}/audit'}}\n")
        self._hosted = FtpHosted(file, "FTP")
        self._hosted.read()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self._hosted.start([sock])
        return Talk(self.port)

    @property
    def hosted(self) -> FtpHosted:
        """The gateway."""
        assert self._hosted is not None
        return self._hosted

    async def close(self) -> None:
        """Everything."""
        if self._hosted is not None:
            await self._hosted.close()
        await self.upstream.close()
        await self.engine.close()

    async def record(self) -> dict[str, Any]:
        """The only audit record so far, waited for."""
        await self.until(self.lines)
        (line,) = self.lines()
        return dict(json.loads(line))

    def lines(self) -> list[str]:
        """The audit log so far."""
        file = self._folder / "audit"
        return file.read_text().splitlines() if file.exists() else []

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for it."""
        async with asyncio.timeout(_WITHIN):
            while not true():  # noqa: ASYNC110 - the state of others, who tell nobody
                await asyncio.sleep(0.005)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Server and engine run."""
    made = Stage(tmp_path)
    await made.upstream.start()
    await made.engine.start()
    yield made
    await made.close()
