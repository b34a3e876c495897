"""A POP3 server that says what a test wants, breaks off where a test wants, and keeps what it was asked.

Rules of this file: it is simple enough to be right by reading: a line in, octets out.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Self

CUT = b""
"""As an answer: the connection is broken off instead."""

SILENT = b"?"
"""As an answer: nothing is said, ever."""

_WORDS = (b"TOP", b"UIDL", b"USER", b"SASL PLAIN GSSAPI LOGIN", b"UTF8 USER", b"LANG", b"STLS", b"PIPELINING", b"X-ODD")
CAPA = b"".join(word + b"\r\n" for word in (b"+OK", *_WORDS, b"."))


@dataclass
class Pop3Server:
    """`mails` as they lie there; `answers` by line or by verb go before what would be said (`GREETING` too). `pause`:
    octets of a RETR's answer that are sent before `go_on` is set; None: all. `breaks`: and no more, ever."""

    mails: list[bytes] = field(default_factory=list)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    lines: list[bytes] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    pause: int | None = None
    breaks: bool = False
    open: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self.go_on = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.go_on.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await self._say(writer, b"GREETING", b"+OK ready <1.2@fake>\r\n")
            while line := await reader.readline():
                line = line.rstrip(b"\r\n")
                self.lines.append(line)
                if await self._answer(line, reader, writer):
                    self.ends.append("quit")
                    return
            self.ends.append("gone")
        except (ConnectionError, asyncio.IncompleteReadError):
            self.ends.append("gone")
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        verb, *words = line.split(b" ")
        verb = verb.upper()
        said = self.answers.get(line, self.answers.get(verb))
        if said is not None:
            await self._say(writer, verb, said)
        elif verb == b"STLS" and self.tls is not None:
            writer.write(b"+OK\r\n")
            await writer.start_tls(self.tls)
        elif verb == b"RETR":
            await self._retrieve(int(words[0]), writer)
        else:
            writer.write(self._usual(verb, words))
        return verb == b"QUIT"

    async def _say(self, writer: asyncio.StreamWriter, verb: bytes, usual: bytes) -> None:
        said = self.answers.get(verb, usual) if verb == b"GREETING" else usual
        if said == SILENT:
            await asyncio.Event().wait()
        writer.write(said)
        if said == CUT:
            raise ConnectionError
        await writer.drain()

    def _usual(self, verb: bytes, words: list[bytes]) -> bytes:
        sizes = [len(mail) for mail in self.mails]
        if verb == b"STAT":
            return b"+OK %d %d\r\n" % (len(sizes), sum(sizes))
        if verb == b"CAPA":
            return CAPA
        if verb in (b"LIST", b"UIDL"):
            rows = [
                b"%d %s" % (n + 1, b"%d" % size if verb == b"LIST" else b"uid-%d" % n) for n, size in enumerate(sizes)
            ]
            if not words:
                return b"".join(row + b"\r\n" for row in (b"+OK", *rows, b"."))
            number = int(words[0])
            return b"+OK " + rows[number - 1] + b"\r\n" if number <= len(rows) else b"-ERR no such message\r\n"
        return b"+OK\r\n"

    async def _retrieve(self, number: int, writer: asyncio.StreamWriter) -> None:
        if number > len(self.mails):
            writer.write(b"-ERR no such message\r\n")
            return
        mail = self.mails[number - 1]
        wire = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
        wire = b"+OK %d octets\r\n" % len(mail) + wire + b".\r\n"
        if self.pause is not None:
            writer.write(wire[: self.pause])
            await writer.drain()
            await self.go_on.wait()
            if self.breaks:
                raise ConnectionError
            wire = wire[self.pause :]
        writer.write(wire)
        await writer.drain()
