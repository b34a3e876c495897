"""An SMTP server that says what a test wants, breaks off where a test wants, and keeps what it was given.

Rules of this file: it is simple enough to be right by reading: octets in, lines out; a mail is what stood between DATA
and CRLF.CRLF, as it came, or in BDAT's octets.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Self

CUT = b""
"""As an answer: the connection is broken off instead."""

SILENT = b"-"
"""As an answer: nothing is said, ever."""

EHLO = b"".join(
    b"250%s%s\r\n" % (b" " if word == b"CHUNKING" else b"-", word)
    for word in (
        b"hop.example.org",
        b"PIPELINING",
        b"SIZE 100000000",
        b"AUTH PLAIN LOGIN",
        b"DSN",
        b"8BITMIME",
        b"SMTPUTF8",
        b"XFORWARD NAME ADDR",
        b"X-ODD",
        b"CHUNKING",
    )
)


@dataclass
class Received:
    """One mail: MAIL's line, RCPT's lines, and the octets, dots as they came."""

    sender: bytes
    recipients: list[bytes]
    wire: bytes


@dataclass
class NextHop:
    """`answers` by verb (`GREETING`, `.`, and RCPT with its whole line go before the plain verb)."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    mails: list[Received] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    sessions: int = 0
    open: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        self._writers: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def say(self, data: bytes) -> None:
        """Unasked, to everybody."""
        for writer in self._writers:
            writer.write(data)

    def drop(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self.open += 1
        self._writers.add(writer)
        try:
            await _Talk(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()


class _Talk:
    def __init__(self, hop: NextHop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hop, self.reader, self.writer = hop, reader, writer
        self.sender, self.recipients, self.chunks = b"", [], b""

    async def run(self) -> None:
        if not await self.answer(b"GREETING", b"220 hop.example.org ESMTP\r\n"):
            return
        while line := await self.reader.readline():
            line = line.removesuffix(b"\r\n")
            self.hop.lines.append(line)
            if not await self.obey(line, line.split(b" ")[0].upper()):
                return

    async def answer(self, key: bytes, usual: bytes) -> bool:
        said = self.hop.answers.get(key, usual)
        if said == SILENT:
            await asyncio.Event().wait()
        self.writer.write(said)
        await self.writer.drain()
        return said != CUT

    async def obey(self, line: bytes, verb: bytes) -> bool:
        if verb == b"DATA":
            return await self.read_data()
        if verb == b"BDAT":
            return await self.read_chunk(line)
        if verb == b"STARTTLS" and self.hop.tls is not None:
            await self.answer(verb, b"220 go\r\n")
            await self.writer.start_tls(self.hop.tls)
            return True
        key = line if line in self.hop.answers else verb
        usual = {b"EHLO": EHLO, b"QUIT": b"221 2.0.0 Bye\r\n"}.get(verb, b"250 2.1.0 Ok\r\n")
        good = self.hop.answers.get(key, usual).startswith(b"2")
        if verb == b"MAIL" and good:
            self.sender, self.recipients, self.chunks = line, [], b""
        if verb == b"RCPT" and good:
            self.recipients.append(line)
        return await self.answer(key, usual) and verb != b"QUIT"

    async def read_data(self) -> bool:
        if not await self.answer(b"DATA", b"354 go on\r\n"):
            return False
        if not self.hop.answers.get(b"DATA", b"354").startswith(b"354"):
            return True
        wire = b""
        while not (wire == b".\r\n" or wire.endswith(b"\r\n.\r\n")):
            wire += await self.reader.readuntil(b"\n")
        return await self.take(wire[:-3])

    async def read_chunk(self, line: bytes) -> bool:
        words = line.split()
        self.chunks += await self.reader.readexactly(int(words[1]))
        if len(words) < 3:
            return await self.answer(b"BDAT", b"250 2.0.0 chunk\r\n")
        return await self.take(self.chunks)

    async def take(self, wire: bytes) -> bool:
        mail = Received(self.sender, self.recipients, wire)
        if self.hop.answers.get(b".", b"2").startswith(b"2"):
            self.hop.mails.append(mail)
        return await self.answer(b".", b"250 2.0.0 Ok: queued as A1B2\r\n")
