"""A gateway in this very process, a server that obeys, and clients that talk to both."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from mailgw.imap.gateway import ImapGateway
from scanners.specimens import EICAR
from tests.fakes.imap_server import ImapServer

CLEAN = b"Message-ID: <1@example.org>\r\nSubject: clean\r\n\r\nHello.\r\n"
INFECTED = b"Message-ID: <2@example.org>\r\nSubject: bad\r\n\r\n" + EICAR + b"\r\n" + b"." * 200 + b"\r\n"
REPLACE = """\
mail-acl:
  - {name: ERROR, when: {virus-status: [error]}, action: defer}
  - {name: VIRUS, when: {virus-status: [found]}, action: accept, quarantine: true}
  - {name: OK, action: accept}
doc-acl:
  - {name: FOUND, when: {virus-status: [found, skipped, unknown]}, action: replace, replace: found.txt}
  - {name: DOC, action: accept}
"""
DENY = """\
mail-acl:
  - {name: VIRUS, when: {virus-status: [found]}, action: deny, quarantine: true}
  - {name: OK, action: accept}
doc-acl: [{name: DOC, action: accept}]
"""
SCAN = "command-acl: [{name: CMD, use-antivirus: {download: [AV], upload: [AV]}}]\n"


class Client:
    """Speaks octets; `ask` waits for the tagged line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._count = 0

    def send(self, data: bytes) -> None:
        """Octets, as they are."""
        self.writer.write(data)

    async def line(self) -> bytes:
        """One line; b"" at the end."""
        async with asyncio.timeout(10):
            return await self.reader.readline()

    async def until(self, start: bytes) -> bytes:
        """Everything up to a line that begins so, or the end."""
        found = bytearray()
        while line := await self.line():
            found += line
            if line.startswith(start):
                break
        return bytes(found)

    async def ask(self, line: bytes) -> bytes:
        """A command without its tag; everything up to its tagged line, the tag cut off that."""
        self._count += 1
        tag = b"t%d " % self._count
        self.send(tag + line + b"\r\n")
        found = await self.until(tag)
        return found.replace(b"\r\n" + tag, b"\r\n").removeprefix(tag)

    async def begin(self) -> None:
        """Logged in, with INBOX open."""
        assert (await self.line()).startswith(b"* OK ")
        assert b"OK " in await self.ask(b"LOGIN bob secret-word")
        assert (await self.ask(b"SELECT INBOX")).endswith(b"OK done\r\n")

    async def rest(self) -> bytes:
        """Everything until the gateway closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


class Scene:
    """One running gateway with its records and its clients."""

    def __init__(self, gateway: ImapGateway, port: int, directory: Path) -> None:
        self.gateway, self.port, self.directory = gateway, port, directory
        self._stack = AsyncExitStack()

    async def client(self) -> Client:
        """One more client."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        self._stack.callback(lambda: writer.transport.abort())
        return Client(reader, writer)

    async def reader(self) -> Client:
        """One that is logged in, with INBOX open."""
        client = await self.client()
        await client.begin()
        return client

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


async def wait_until(condition: Callable[[], object]) -> None:
    """Returns once the condition holds; TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other programs' code, too
            await asyncio.sleep(0.01)


type Start = Callable[..., Awaitable[Scene]]


def write_policy(file: Path, servers: str, acls: str, *, engine: str, gateway: str, top: str) -> None:
    """One imap4-proxy; `gateway` and `top` are further items."""
    directory = file.parent
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    (directory / "found.txt").write_text("REMOVED {virus}\n")
    body = f"listen: 127.0.0.1:1143\nserver: {servers}\n" + acls + gateway
    if "command-acl" not in gateway:
        body += SCAN
    file.write_text(
        f"antivirus:\n  AV: {engine}\naudit: {{to: {directory / 'audit'}}}\n"
        f"quarantine: {{directory: {directory / 'quarantine'}}}\n{top}"
        "imap4-proxy:\n  IMAP4:\n" + indent(body, "    ")
    )


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a gateway before some servers."""
    scenes: list[Scene] = []

    async def begin(
        *servers: ImapServer,
        acls: str = REPLACE,
        engine: str = "{protocol: builtin}",
        gateway: str = "",
        top: str = "",
        where: str = "",
    ) -> Scene:
        file = tmp_path / "policy.yaml"
        where = where or "[" + ", ".join(f"127.0.0.1:{server.port}" for server in servers) + "]"
        write_policy(file, where, acls, engine=engine, gateway=gateway, top=top)
        hosted = ImapGateway(file, "IMAP4", "stdout")
        hosted.read()
        listening = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )  # asyncio looks at it: no delay
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        await hosted.start([listening])
        scenes.append(Scene(hosted, port, tmp_path))
        return scenes[-1]

    yield begin
    for scene in scenes:
        await scene.close()


@pytest.fixture
async def server() -> AsyncIterator[ImapServer]:
    """One with a clean mail, an infected one, a clean one."""
    async with ImapServer({1: CLEAN, 2: INFECTED, 3: CLEAN.replace(b"<1@", b"<3@")}) as running:
        yield running


def body_of(said: bytes, number: int) -> bytes:
    """The BODY[] that was said of a mail."""
    found = re.search(rb"\* %d FETCH \([^{]*BODY\[\] \{(\d+)\}\r\n" % number, said)
    assert found, said
    return said[found.end() : found.end() + int(found[1])]
