"""A gateway in this very process, a server that obeys, and clients that talk to both."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from mailgw.pop3.gateway import Pop3Gateway
from tests.fakes.pop3_server import Pop3Server

REPLACE = """\
command-acl: {name: ALL, use-antivirus: [AV]}
mail-acl: {name: MAILOK, action: accept}
doc-acl:
  - {name: BAD, when: {virus-status: [found, skipped, unknown]}, action: replace, replace: notice.txt}
  - {name: DOCOK, action: accept}
"""
DENY = """\
command-acl: {name: ALL, use-antivirus: [AV]}
mail-acl:
  - {name: VIRUS, when: {virus-status: [found, skipped, unknown]}, action: deny, quarantine: true}
  - {name: MAILOK, action: accept}
doc-acl: {name: DOCOK, action: accept}
"""
BUILTIN = "{protocol: builtin}"


class Client:
    """Speaks octets; `ask` waits for one line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Octets, as they are."""
        self.writer.write(data)

    async def line(self) -> bytes:
        """One line; b"" at the end."""
        async with asyncio.timeout(10):
            return await self.reader.readline()

    async def ask(self, line: bytes) -> bytes:
        """Send a line and wait for its status line."""
        self.send(line + b"\r\n")
        return await self.line()

    async def fetch(self, line: bytes) -> bytes:
        """Send a line; its whole good answer, with the final dot."""
        status = await self.ask(line)
        assert status.startswith(b"+OK"), status
        async with asyncio.timeout(10):
            lines = [status]
            while lines[-1] != b".\r\n":
                lines.append(await self.reader.readline())
                assert lines[-1], lines
        return b"".join(lines)

    async def login(self, user: bytes = b"user") -> None:
        """Up to where mails are."""
        assert (await self.line()).startswith(b"+OK")
        assert (await self.ask(b"USER " + user)).startswith(b"+OK")
        assert (await self.ask(b"PASS marker-password")).startswith(b"+OK")

    async def rest(self) -> bytes:
        """Everything until the gateway closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


class Scene:
    """One running gateway with its records and its clients."""

    def __init__(self, gateway: Pop3Gateway, port: int, directory: Path) -> None:
        self.gateway, self.port, self.directory = gateway, port, directory
        self._stack = AsyncExitStack()

    async def client(self) -> Client:
        """One more client."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        self._stack.callback(_abort, writer)
        return Client(reader, writer)

    async def records(self, count: int) -> list[dict[str, Any]]:
        """All records, once there are so many."""
        file = self.directory / "audit"
        await wait_until(lambda: len(file.read_text().splitlines()) >= count)
        lines = file.read_text().splitlines()
        assert len(lines) == count
        return [json.loads(line) for line in lines]

    def kept(self) -> list[Path]:
        """The quarantine's data files."""
        return sorted((self.directory / "quarantine").glob("*.data"))

    async def settled(self) -> None:
        """No session is left, and every spool is given back."""
        await wait_until(lambda: not self.gateway._sessions)
        assert self.gateway.site is not None
        assert self.gateway.site.checkpoint.room.used == 0
        assert self.gateway.site.checkpoint.under_way == 0

    async def close(self) -> None:
        """End."""
        await self._stack.aclose()
        await self.gateway.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    """The writer is held until here: one that nobody holds complains of being left open."""
    writer.transport.abort()


async def wait_until(condition: Callable[[], object]) -> None:
    """Returns once the condition holds; TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other programs' code, too
            await asyncio.sleep(0.01)


type Start = Callable[..., Awaitable[Scene]]


def write_policy(file: Path, server: int, items: str, *, engine: str, top: str) -> None:
    """One pop3-proxy."""
    directory = file.parent
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    (directory / "notice.txt").write_text("{filename} was {status}: {virus}.")
    body = f"listen: 127.0.0.1:1110\nserver: 127.0.0.1:{server}\n{items}"
    file.write_text(
        f"antivirus:\n  AV: {engine}\naudit: {{to: {directory / 'audit'}}}\n"
        f"quarantine: {{directory: {directory / 'quarantine'}}}\n{top}"
        "pop3-proxy:\n  POP3:\n" + indent(body, "    ")
    )


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a gateway before a server."""
    scenes: list[Scene] = []

    async def begin(server: Pop3Server, items: str = REPLACE, *, engine: str = BUILTIN, top: str = "") -> Scene:
        file = tmp_path / "policy.yaml"
        write_policy(file, server.port, items, engine=engine, top=top)
        hosted = Pop3Gateway(file, "POP3", "stdout")
        hosted.read()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        await hosted.start([listening])
        scenes.append(Scene(hosted, port, tmp_path))
        return scenes[-1]

    yield begin
    for scene in scenes:
        await scene.close()


@pytest.fixture
async def server() -> AsyncIterator[Pop3Server]:
    """A server with a clean mail, an infected one, and one of dots."""
    async with Pop3Server([CLEAN, INFECTED, DOTS]) as one:
        yield one


_EICAR_BASE64 = b"WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo="
CLEAN = b"Message-ID: <1@example.org>\r\nSubject: one\r\nX-Last: line\r\n\r\nhello\r\n"
INFECTED = (
    b"Message-ID: <2@example.org>\r\nSubject: two\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n'
    b"Content-Type: application/octet-stream; name=a.com\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + _EICAR_BASE64
    + b"\r\n--b--\r\n"
)
DOTS = b"Subject: dots\r\n.X: y\r\n\r\n.\r\n..\r\n...a\r\n\r\n.\r\n"
