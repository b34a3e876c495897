"""A gateway in this very process, a server that obeys, and clients that talk to both."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mailgw.imap.gateway import ImapGateway
from scanners.specimens import EICAR
from tests.fakes.imap_server import ImapServer
from tests.mailgw import scenes
from tests.mailgw.scenes import OctetClient, Stage, write_gateway

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


class Client(OctetClient):
    """Speaks octets; `ask` waits for the tagged line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._count = 0

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


class Scene(scenes.Scene[Client]):
    """With clients that read mails."""

    async def reader(self) -> Client:
        """One that is logged in, with INBOX open."""
        client = await self.client()
        await client.begin()
        return client


type Start = Callable[..., Awaitable[Scene]]


def write_policy(file: Path, servers: str, acls: str, *, engine: str, gateway: str, top: str) -> None:
    """One imap4-proxy; `gateway` and `top` are further items."""
    (file.parent / "found.txt").write_text("REMOVED {virus}\n")
    body = f"listen: 127.0.0.1:1143\nserver: {servers}\n" + acls + gateway
    if "command-acl" not in gateway:
        body += SCAN
    write_gateway(file, "imap4-proxy.IMAP4", body, engine=engine, top=top)


@pytest.fixture
def start(tmp_path: Path, stage: Stage) -> Start:
    """Starts a gateway before some servers."""

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
        return await stage(Scene(ImapGateway(file, "IMAP4", "stdout"), tmp_path, Client))

    return begin


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
