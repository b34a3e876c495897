"""A gateway in this very process, a next hop that obeys, and clients that talk to both."""

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

from mailgw.smtp.gateway import SmtpGateway
from tests.fakes.next_hop import NextHop

ACCEPT = "- {name: OK, action: accept}\n"
VARIANT_1 = """\
- {name: VIRUS, when: {virus-status: [found]}, action: discard, quarantine: true}
- {name: AV-ERROR, when: {virus-status: [error]}, action: defer}
- {name: AV-UNKNOWN, when: {virus-status: [skipped, unknown]}, action: discard, quarantine: true}
- {name: MAILOK, action: accept}
"""


class Client:
    """Speaks octets; `ask` waits for one whole reply."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Octets, as they are."""
        self.writer.write(data)

    async def reply(self) -> bytes:
        """One whole reply; b"" at the end."""
        lines = b""
        async with asyncio.timeout(10):
            while line := await self.reader.readline():
                lines += line
                if line[3:4] != b"-":
                    break
        return lines

    async def ask(self, line: bytes) -> bytes:
        """Send a line and wait for its reply."""
        self.send(line + b"\r\n")
        return await self.reply()

    async def begin(self, *recipients: bytes) -> None:
        """Up to the envelope; every answer is good."""
        assert (await self.reply()).startswith(b"220")
        assert (await self.ask(b"EHLO client.example.org")).startswith(b"250")
        assert (await self.ask(b"MAIL FROM:<a@example.org>")).startswith(b"250")
        for recipient in recipients or (b"b@example.com",):
            assert (await self.ask(b"RCPT TO:<" + recipient + b">")).startswith(b"250")

    async def mail(self, wire: bytes) -> bytes:
        """DATA and a mail, without its dot; the final reply."""
        assert (await self.ask(b"DATA")).startswith(b"354")
        return await self.ask(wire + b".")

    async def rest(self) -> bytes:
        """Everything until the gateway closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


class Scene:
    """One running gateway with its records and its clients."""

    def __init__(self, gateway: SmtpGateway, port: int, directory: Path) -> None:
        self.gateway, self.port, self.directory = gateway, port, directory
        self.quarantine = directory / "quarantine"
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
        return sorted(self.quarantine.glob("*.data"))

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


def write_policy(file: Path, servers: str, mail_acl: str, *, engine: str, gateway: str, top: str) -> None:
    """One smtp-proxy; `gateway` and `top` are further items."""
    directory = file.parent
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    body = f"listen: 127.0.0.1:2525\nserver: {servers}\n"
    if "no-mail-scanning" not in gateway:
        body += "use-antivirus: [AV]\nmail-acl:\n" + indent(mail_acl, "  ")
    if "doc-acl" not in gateway and "no-mail-scanning" not in gateway:
        body += "doc-acl: [{name: DOCOK, action: accept}]\n"
    file.write_text(
        f"antivirus:\n  AV: {engine}\naudit: {{to: {directory / 'audit'}}}\n"
        f"quarantine: {{directory: {directory / 'quarantine'}}}\n{top}"
        "smtp-proxy:\n  SMTP:\n" + indent(body + gateway, "    ")
    )


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a gateway before some next hops."""
    scenes: list[Scene] = []

    async def begin(
        *hops: NextHop,
        mail_acl: str = VARIANT_1,
        engine: str = "{protocol: builtin}",
        gateway: str = "",
        top: str = "",
        servers: str = "",
    ) -> Scene:
        file = tmp_path / "policy.yaml"
        servers = servers or "[" + ", ".join(f"127.0.0.1:{hop.port}" for hop in hops) + "]"
        write_policy(file, servers, mail_acl, engine=engine, gateway=gateway, top=top)
        hosted = SmtpGateway(file, "SMTP", "stdout")
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
async def hop() -> AsyncIterator[NextHop]:
    """A next hop that accepts everything."""
    async with NextHop() as server:
        yield server
