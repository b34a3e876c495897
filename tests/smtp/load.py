"""Many mails over several connections, each known by its recipient.

Rules of this file: a client here does what RFC 5321 has a client do: it takes 250 for an answer, tries 4xx and broken
connections again, and gives up at 5xx; AVSLUICE_FULL=1 makes the tests that use it run at full length.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

FULL = bool(os.environ.get("AVSLUICE_FULL"))
_END = b".\r\n"
_DOTS = re.compile(rb"(?m)^\.")


@dataclass
class Load:
    """`mails` by name, a last line end is added. `answers`: the last reply to each; `unsure`: how often it was not
    known of a mail whether it was taken (no reply came, or one that says that the next hop broke off); `tries`: how
    often each was tried."""

    port: int
    mails: Mapping[str, bytes]
    answers: dict[str, bytes] = field(default_factory=dict)
    unsure: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    most_tries: int = 1
    pause: float = 0.05
    on_answer: Callable[[], None] = lambda: None

    async def run(self, connections: int = 8) -> None:
        """Sends all of them."""
        waiting = list(reversed(self.mails))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(self._work(waiting))

    async def _work(self, waiting: list[str]) -> None:
        connection: _Connection | None = None
        while waiting:
            name = waiting.pop()
            while self.tries[name] < self.most_tries:
                self.tries[name] += 1
                connection = connection or await self._connect()
                reply = await connection.send(name, self.mails[name]) if connection else b""
                if (connection is not None and connection.unanswered) or reply.startswith(b"451 4.4.2"):
                    self.unsure[name] += 1
                self.answers[name] = reply
                if not reply or reply.startswith(b"421"):
                    if connection is not None:
                        connection.close()
                    connection = None
                if reply[:1] in (b"2", b"5"):
                    break
                await asyncio.sleep(self.pause)
            self.on_answer()
        if connection is not None:
            connection.close()

    async def _connect(self) -> _Connection | None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            connection = _Connection(reader, writer)
            if (await connection.reply()).startswith(b"220") and (await connection.ask(b"EHLO me")).startswith(b"250"):
                return connection
            connection.close()
        except OSError:
            pass
        return None


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.unanswered = False

    async def send(self, name: str, mail: bytes) -> bytes:
        """One transaction's final reply, b"" where the connection broke."""
        self.unanswered = False
        try:
            for line in (b"RSET", b"MAIL FROM:<a@example.org>", b"RCPT TO:<" + name.encode() + b"@example.com>"):
                if not (reply := await self.ask(line)).startswith(b"250"):
                    return reply
            if not (reply := await self.ask(b"DATA")).startswith(b"354"):
                return reply
            self._writer.write(
                _DOTS.sub(b"..", mail) + (_END if mail.endswith(b"\r\n") or not mail else b"\r\n" + _END)
            )
            self.unanswered = True
            reply = await self.reply()
            self.unanswered = not reply
        except OSError:
            return b""
        return reply

    async def ask(self, line: bytes) -> bytes:
        """A line's reply."""
        self._writer.write(line + b"\r\n")
        return await self.reply()

    async def reply(self) -> bytes:
        """One whole reply; b"" at the end."""
        lines = b""
        async with asyncio.timeout(20):
            while line := await self._reader.readline():
                lines += line
                if line[3:4] != b"-":
                    return lines
        return b""

    def close(self) -> None:
        """Break off."""
        self._writer.transport.abort()


def read_name(recipient: bytes) -> str:
    """The name of a mail, from what the next hop heard in RCPT."""
    found = re.search(rb"<([^@<>]+)@example\.com>", recipient)
    assert found, recipient
    return found[1].decode()
