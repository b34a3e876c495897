"""What the tests of all mail gateways stand on: a gateway in this very process, and clients that talk to it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import indent
from typing import Any, Protocol

from mailgw.hosted import MailHosted


class OctetClient:
    """Speaks octets, and waits for an answer for 10 s at the most."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Octets, as they are."""
        self.writer.write(data)

    async def line(self) -> bytes:
        """One line; b"" at the end."""
        async with asyncio.timeout(10):
            return await self.reader.readline()

    async def rest(self) -> bytes:
        """Everything until the gateway closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """TLS from here on, with 127.0.0.1."""
        async with asyncio.timeout(10):
            await self.writer.start_tls(context, server_hostname="127.0.0.1")


class Scene[C: OctetClient]:
    """One running gateway with its records and its clients, which `make` makes."""

    def __init__(
        self,
        gateway: MailHosted[Any, Any],
        directory: Path,
        make: Callable[[asyncio.StreamReader, asyncio.StreamWriter], C],
    ) -> None:
        self.gateway, self.directory = gateway, directory
        self.port = 0
        self.quarantine = directory / "quarantine"
        self._make = make
        self._stack = AsyncExitStack()

    async def begin(self) -> None:
        """Read the policy and accept, on a free port."""
        self.gateway.read()
        # The protocol is named because asyncio looks at it: no delay.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await self.gateway.start([listening])

    async def client(self, context: ssl.SSLContext | None = None) -> C:
        """One more client; with `context` under TLS from the first octet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24, ssl=context)
        self._stack.callback(_abort, writer)
        return self._make(reader, writer)

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


class Stage(Protocol):
    """The fixture."""

    async def __call__[S: Scene[Any]](self, scene: S) -> S:
        """Begin it; it ends with the test."""


def write_gateway(file: Path, label: str, items: str, *, engine: str, top: str) -> None:
    """A policy of one gateway, `label` as in `smtp-proxy.SMTP`, that keeps its records and quarantine beside `file`."""
    kind, name = label.split(".")
    directory = file.parent
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    file.write_text(
        f"antivirus:\n  AV: {engine}\naudit: {{to: {directory / 'audit'}}}\n"
        f"quarantine: {{directory: {directory / 'quarantine'}}}\n{top}"
        f"{kind}:\n  {name}:\n" + indent(items, "    ")
    )
