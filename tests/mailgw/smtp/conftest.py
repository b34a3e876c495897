"""A gateway in this very process, a next hop that obeys, and clients that talk to both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from textwrap import indent

import pytest

from mailgw.smtp.gateway import SmtpGateway
from scanners.specimens import EICAR
from tests.fakes.next_hop import NextHop
from tests.mailgw import scenes
from tests.mailgw.scenes import OctetClient, Stage, write_gateway

ACCEPT = "- {name: OK, action: accept}\n"
VARIANT_1 = """\
- {name: VIRUS, when: {virus-status: [found]}, action: discard, quarantine: true}
- {name: AV-ERROR, when: {virus-status: [error]}, action: defer}
- {name: AV-UNKNOWN, when: {virus-status: [skipped, unknown]}, action: discard, quarantine: true}
- {name: MAILOK, action: accept}
"""

CLEAN = b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nhello\r\n"
INFECTED = b"Message-ID: <2@example.org>\r\nSubject: x\r\n\r\n" + EICAR + b"\r\n"


class Client(OctetClient):
    """Speaks octets; `ask` waits for one whole reply."""

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


type Scene = scenes.Scene[Client]
type Start = Callable[..., Awaitable[Scene]]


def write_policy(file: Path, servers: str, mail_acl: str, *, engine: str, gateway: str, top: str) -> None:
    """One smtp-proxy; `gateway` and `top` are further items."""
    body = f"listen: 127.0.0.1:2525\nserver: {servers}\n"
    if "no-mail-scanning" not in gateway:
        body += "use-antivirus: [AV]\nmail-acl:\n" + indent(mail_acl, "  ")
    if "doc-acl" not in gateway and "no-mail-scanning" not in gateway:
        body += "doc-acl: [{name: DOCOK, action: accept}]\n"
    write_gateway(file, "smtp-proxy.SMTP", body + gateway, engine=engine, top=top)


@pytest.fixture
def start(tmp_path: Path, stage: Stage) -> Start:
    """Starts a gateway before some next hops."""

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
        return await stage(scenes.Scene(SmtpGateway(file, "SMTP", "stdout"), tmp_path, Client))

    return begin


@pytest.fixture
async def hop() -> AsyncIterator[NextHop]:
    """A next hop that accepts everything."""
    async with NextHop() as server:
        yield server
