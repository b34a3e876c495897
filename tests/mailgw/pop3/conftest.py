"""A gateway in this very process, a server that obeys, and clients that talk to both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mailgw.pop3.gateway import Pop3Gateway
from tests.fakes.pop3_server import Pop3Server
from tests.mailgw import scenes
from tests.mailgw.scenes import OctetClient, Stage, write_gateway

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


class Client(OctetClient):
    """Speaks octets; `ask` waits for one line."""

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


type Scene = scenes.Scene[Client]
type Start = Callable[..., Awaitable[Scene]]


def write_policy(file: Path, server: int, items: str, *, engine: str, top: str) -> None:
    """One pop3-proxy."""
    (file.parent / "notice.txt").write_text("{filename} was {status}: {virus}.")
    body = f"listen: 127.0.0.1:1110\nserver: 127.0.0.1:{server}\n{items}"
    write_gateway(file, "pop3-proxy.POP3", body, engine=engine, top=top)


@pytest.fixture
def start(tmp_path: Path, stage: Stage) -> Start:
    """Starts a gateway before a server."""

    async def begin(server: Pop3Server, items: str = REPLACE, *, engine: str = BUILTIN, top: str = "") -> Scene:
        file = tmp_path / "policy.yaml"
        write_policy(file, server.port, items, engine=engine, top=top)
        return await stage(scenes.Scene(Pop3Gateway(file, "POP3", "stdout"), tmp_path, Client))

    return begin


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
