"""An IMAP server that holds some mails, says what a test wants besides, and keeps what it was told.

Rules of this file: it is simple enough to be right by reading; it understands numbers and UIDs as single ones,
lists and `a:b`; UIDs are ten times the numbers that the mails had in the beginning.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

CUT = b""
"""As an answer: the connection is broken off instead."""

CAPABILITIES = (
    b"IMAP4rev1 LITERAL+ SASL-IR IDLE UIDPLUS ENABLE CONDSTORE AUTH=PLAIN AUTH=GSSAPI COMPRESS=DEFLATE CATENATE"
    b" URLAUTH NOTIFY X-ODD STARTTLS"
)
_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


@dataclass
class ImapServer:
    """`answers` by verb (`GREETING`, `FETCH`, `UID FETCH`, ...) take a command's place: the octets, with `TAG` for the
    tag; a list of them is used up one by one. `change` makes of a mail's octets what is sent, by how often one was."""

    mails: dict[int, bytes] = field(default_factory=dict)
    answers: dict[bytes, bytes | list[bytes]] = field(default_factory=dict)
    change: Callable[[bytes, int], bytes] = lambda mail, times: mail
    tls: ssl.SSLContext | None = None
    lines: list[bytes] = field(default_factory=list)
    appended: list[bytes] = field(default_factory=list)
    bodies: int = 0
    open: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        self._writers: list[asyncio.StreamWriter] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Something that nobody asked for, to everybody."""
        for writer in self._writers:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.open += 1
        try:
            writer.write(self._answer(b"GREETING", b"*") or b"* OK [CAPABILITY %s] hello\r\n" % CAPABILITIES)
            while line := await reader.readline():
                if not await self._obey(line, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()

    def _answer(self, verb: bytes, tag: bytes) -> bytes | None:
        answer = self.answers.get(verb)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        return None if answer is None else answer.replace(b"TAG", tag)

    async def _obey(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        literals = []
        while (found := _LITERAL.search(line)) is not None:
            if not found[2]:
                writer.write(b"+ ok\r\n")
            literals.append(await reader.readexactly(int(found[1])))
            line = line[: found.start()] + b"<literal>" + await reader.readline()
        self.lines.append(line.rstrip(b"\r\n"))
        tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
        words = rest.split(b" ")
        verb = words[0].upper() if words[0].upper() != b"UID" else b" ".join(words[:2]).upper()
        answer = self._answer(verb, tag)
        if answer is not None:
            writer.write(answer)
            return answer != CUT
        return await self._do(verb, tag, rest, literals, reader, writer)

    async def _do(
        self,
        verb: bytes,
        tag: bytes,
        rest: bytes,
        literals: list[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if verb == b"STARTTLS" and self.tls is not None:
            writer.write(tag + b" OK go\r\n")
            await writer.start_tls(self.tls)
            return True
        if verb == b"AUTHENTICATE" and len(rest.split()) == 2:
            writer.write(b"+ \r\n")
            self.lines.append((await reader.readline()).rstrip(b"\r\n"))
        if verb == b"IDLE":
            writer.write(b"+ idling\r\n")
            self.lines.append((await reader.readline()).rstrip(b"\r\n"))
        if verb == b"CAPABILITY":
            writer.write(b"* CAPABILITY %s\r\n" % CAPABILITIES)
        if verb in (b"SELECT", b"EXAMINE"):
            writer.write(b"* %d EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n" % len(self.mails))
        if verb == b"APPEND":
            self.appended += literals
        if verb in (b"FETCH", b"UID FETCH"):
            self._fetch(rest, writer, uid=verb != b"FETCH")
        code = b"[CAPABILITY %s] " % CAPABILITIES if verb in (b"LOGIN", b"AUTHENTICATE") else b""
        writer.write(tag + b" OK " + code + b"done\r\n")
        return verb != b"LOGOUT"

    def _fetch(self, rest: bytes, writer: asyncio.StreamWriter, *, uid: bool) -> None:
        wanted, items = rest.split(b" ", 3 if uid else 2)[2 if uid else 1 :][:2]
        numbers = sorted(self.mails)
        for number, key in enumerate(numbers, 1):
            if not _covers(wanted, key * 10 if uid else number, len(numbers) * 1000):
                continue
            told = [b"UID %d" % (key * 10)] if uid or b"UID" in items else []
            if b"RFC822.SIZE" in items:
                told.append(b"RFC822.SIZE %d" % len(self.mails[key]))
            if re.search(rb"BODY(?:\.PEEK)?\[\]", items):
                mail = self.change(self.mails[key], self.bodies)
                self.bodies += 1
                told.append(b"BODY[] {%d}\r\n%s" % (len(mail), mail))
            writer.write(b"* %d FETCH (%s)\r\n" % (number, b" ".join(told)))


def _covers(wanted: bytes, number: int, most: int) -> bool:
    for part in wanted.split(b","):
        first, _, last = part.replace(b"*", b"%d" % most).partition(b":")
        if int(first) <= number <= int(last or first):
            return True
    return False
