"""Many SMTP clients that wait for every reply, in one process: lean, so that what is measured is not this.

Rules of this file: no two mails are alike; a mail that was not answered by 250 ends the measurement.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import time
from dataclasses import dataclass, field

from scanners.specimens import EICAR

_TOP = (
    b"Received: from client.example.org by mx.example.org; Mon, 2 Mar 2026 10:00:00 +0000\r\n"
    b"Message-ID: <%s@example.org>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nFrom: A <a@example.org>\r\n"
    b"To: B <b@example.com>\r\nSubject: The figures of March\r\nMIME-Version: 1.0\r\n"
)
_HEAD = _TOP + (
    b'Content-Type: multipart/mixed; boundary="=_part_of_a_mail_4711"\r\n\r\n--=_part_of_a_mail_4711\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
)
_TEXT = b"Please find attached the figures that we talked about on Friday, as it was %s.\r\n"
_PART = (
    b"\r\n--=_part_of_a_mail_4711\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="figures.bin"\r\n\r\n'
)
_END = b"\r\n--=_part_of_a_mail_4711--\r\n"
_numbers = itertools.count()


class Mails:
    """Mails of `size` octets, no two alike: a text of a fifth of that and a file; or `plain`, a text alone."""

    def __init__(self, size: int, *, plain: bool = False) -> None:
        self._plain = plain
        lines = size // len(_TEXT) - 4 if plain else max(2, min(size // 5, 20_000) // len(_TEXT))
        rest = size - len(_HEAD) - lines * len(_TEXT) - len(_PART) - len(_END)
        self._text = [_TEXT % b"said before"] * (lines - 1)
        self._file = _encode(os.urandom(max(57, rest * 57 // 78)))

    def next(self, attached: bytes = b"") -> bytes:
        """The next one, with its final dot; `attached` in the file's place."""
        number = b"%012d" % next(_numbers)
        text = b"".join([_TEXT % number, *self._text])
        if self._plain:
            return b"".join((_TOP % number, b"Content-Type: text/plain\r\n\r\n", text, b".\r\n"))
        file = _encode(attached) if attached else number + self._file[12:]
        return b"".join((_HEAD % number, text, _PART, file, _END, b".\r\n"))


def _encode(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


@dataclass(slots=True)
class Run:
    """What one run came to. Times in seconds."""

    took: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Mails a second."""
        return len(self.waits) / self.took


class Client(asyncio.Protocol):
    """One connection; `ask` sends and waits for one reply."""

    def __init__(self) -> None:
        self._inbox = b""
        self._waiter: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A stream, always."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiter = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """One reply is under way at any time."""
        self._inbox += data
        last = self._inbox[self._inbox.rfind(b"\n", 0, -1) + 1 :]
        if last.endswith(b"\n") and last[3:4] == b" ":
            reply, self._inbox = self._inbox, b""
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Who waits learns it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"closed")

    async def greeting(self) -> bytes:
        """The first reply."""
        assert self._waiter is not None
        return await self._waiter

    async def ask(self, data: bytes) -> bytes:
        """Octets, and the reply to them."""
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._waiter

    def close(self) -> None:
        """End."""
        assert self._transport is not None
        self._transport.close()


async def open_client(port: int) -> Client:
    """Up to EHLO's answer."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    _expect(await client.greeting(), b"220")
    _expect(await client.ask(b"EHLO client.example.org\r\n"), b"250")
    return client


async def send_mail(client: Client, mail: bytes) -> bytes:
    """One transaction; the last reply."""
    _expect(await client.ask(b"MAIL FROM:<a@example.org>\r\n"), b"250")
    _expect(await client.ask(b"RCPT TO:<b@example.com>\r\n"), b"250")
    _expect(await client.ask(b"DATA\r\n"), b"354")
    return await client.ask(mail)


def _expect(reply: bytes, code: bytes) -> None:
    if not reply.startswith(code):
        raise RuntimeError(f"{code.decode()} was expected, not {reply!r}")


async def measure(port: int, mails: Mails, connections: int, seconds: float, *, single: bool) -> Run:
    """So many clients at the same time, until the time is up; the last mails are waited for. `single`: one mail a
    connection."""
    run, began = Run(), time.perf_counter()

    async def converse() -> None:
        client: Client | None = None
        while time.perf_counter() - began < seconds:
            mail, asked = mails.next(), time.perf_counter()
            client = client or await open_client(port)
            _expect(await send_mail(client, mail), b"250")
            run.waits.append(time.perf_counter() - asked)
            if single:
                await client.ask(b"QUIT\r\n")
                client.close()
                client = None
        if client is not None:
            await client.ask(b"QUIT\r\n")
            client.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(converse())
    run.took = time.perf_counter() - began
    return run


async def shows_eicar(port: int) -> bytes:
    """The answer to a mail with EICAR attached."""
    client = await open_client(port)
    try:
        return await send_mail(client, Mails(10_000).next(EICAR))
    finally:
        client.close()
