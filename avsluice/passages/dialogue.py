"""A client's side of FTP and SMTP: lines out, replies of three digits in (RFC 959, 4.2; RFC 5321, 4.2).

Rules of this file: replies are bounded; nothing waits by itself, who asks brings the deadline; no line is logged.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"([1-5][0-9]{2})([ -]?)(.*)", re.DOTALL)
_LINES = 256
_ID = re.compile(r"\bid ([0-9a-z]{16,20})\)?$")


@dataclass(frozen=True, slots=True)
class Reply:
    """Its code, and its last line's text."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """True for 2xx."""
        return self.code // 100 == 2

    @property
    def ours(self) -> bool:
        """Whether it ends in a record's id, as every verdict of a gateway's does."""
        return _ID.search(self.text) is not None

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Dialogue:
    """One connection. Owns it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, line: str) -> Reply:
        """The reply to a line."""
        self.say(line)
        return await self.reply()

    def say(self, line: str) -> None:
        """A line. ValueError where it would be two."""
        if re.search(r"[\x00\r\n]", line):
            raise ValueError("control characters in a command")
        self.writer.write(line.encode() + b"\r\n")

    async def reply(self) -> Reply:
        """One whole reply. OSError where the connection ends, ValueError for what is none."""
        first: str | None = None
        for _ in range(_LINES):
            line = (await self._reader.readline()).decode("utf-8", "replace")
            if not line.endswith("\n"):
                raise OSError("it closed the connection")
            found = _LINE.fullmatch(line.rstrip("\r\n"))
            if first is None and found is None:
                raise ValueError("what came is no reply")
            if found is not None:
                first = first or found[1]
                if found[1] == first and found[2] != "-":
                    return Reply(int(first), found[3])
        raise ValueError("a reply that does not end")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """From now on encrypted."""
        await self.writer.start_tls(context)


def trust(certificate: Path | None) -> ssl.SSLContext:
    """TLS with whoever shows the certificate that the policy names, or one that its chain vouches for, whatever the
    name in it: the gateway is known by its address. OSError where the file cannot be read."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
