"""The table of drwebd's protocol, as the fake daemon reads and says it.

Rules of this file: it was written from the published table alone, by another hand than the adapter's, and shares
neither code nor numbers with it; what a client says is read to the byte, and what is not as below is refused.

All numbers are 32 bits, big-endian, and a connection carries one request:

    net         1 | flags | 0 | size | <size bytes>
    file        1 | flags | length | <path> | 0              one client sends one 0 more
    reply       code | count | count x (length | <text>)     a text may end in NUL
    VERSION     2    reply: number
    BASEINFO    3    reply: count | count x (length | <name> | viruses)
    IDSTRING    4    reply: length | <text>
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

READ = 64 * 1024
_MAX_PATH = 4096
_REST_WITHIN = 5.0
_TURNS = 4
"""Of the loop, after each segment: a client in the same loop hears of it, wakes up and takes it before the next."""


class Command(IntEnum):
    """The first word of a request."""

    SCAN = 1
    VERSION = 2
    BASEINFO = 3
    IDSTRING = 4


class Flag(IntFlag):
    """What a client may ask for. Bits 6 to 18 would cure, move or delete; the rest means nothing."""

    RETURN_VIRUSES = 1
    RETURN_REPORT = 2
    RETURN_CODES = 4
    HEURISTIC_ON = 8
    IS_MAIL = 1 << 19
    DONT_CHANGEMAIL = 1 << 21


_ALLOWED = sum(Flag)


class Code(IntFlag):
    """The bits of a reply's first word."""

    READ_ERR = 0x1
    WRITE_ERR = 0x2
    NOMEMORY = 0x4
    CRC_ERROR = 0x8
    READSOCKET = 0x10
    KNOWN_VIRUS = 0x20
    UNKNOWN_VIRUS = 0x40
    VIRUS_MODIFICATION = 0x80
    HAVE_CURED = 0x100
    TIMEOUT = 0x200
    SYMLINK = 0x400
    NO_REGFILE = 0x800
    SKIPPED = 0x1000
    TOO_BIG = 0x2000
    TOO_COMPRESSED = 0x4000
    BAD_CALL = 0x8000
    EVAL_KEY = 1 << 16
    FILTER_REJECT = 1 << 17
    ARCHIVE_LEVEL = 1 << 18
    HAVE_DELETED = 1 << 19
    IS_CLEAN = 1 << 20
    LICENSE_ERROR = 1 << 21
    ADWARE = 1 << 22
    DIALER = 1 << 23
    JOKE = 1 << 24
    RISKWARE = 1 << 25
    HACKTOOL = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked. `path` of a file scan; `size` and `sha256` of bytes that were sent whole."""

    command: int
    flags: int = 0
    path: bytes | None = None
    size: int | None = None
    sha256: str = ""


class Refused(Exception):
    """A request that is not as the table says; `code` answers it: READSOCKET where it ends too early."""

    def __init__(self, complaint: str, code: Code = Code.BAD_CALL) -> None:
        super().__init__(complaint)
        self.code = code


class Client:
    """One connection. ConnectionError where the client has gone while we speak."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""

    async def read(self, length: int, what: str) -> bytes:
        """Exactly these bytes; Refused where they do not come."""
        try:
            return await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as cut:
            raise Refused(f"{what} ends after {len(cut.partial)} of {length} bytes", Code.READSOCKET) from None

    async def read_word(self, what: str) -> int:
        """A number."""
        return int.from_bytes(await self.read(4, what))

    async def send(self, data: bytes) -> None:
        """In a segment of its own."""
        self._writer.write(data)
        await self._writer.drain()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def watch(self, seconds: float | None) -> None:
        """The time passes; ConnectionError once the client goes. What it says by then is `hear_rest`'s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while part := await self._reader.read(READ):
                    self._rest = self._rest or part
                raise ConnectionError

    async def hear_rest(self) -> bytes:
        """What else the client says (its beginning), after we have said all."""
        if self._writer.is_closing():
            return b""
        self._writer.write_eof()
        async with asyncio.timeout(_REST_WITHIN):
            while part := await self._reader.read(READ):
                self._rest = self._rest or part
        return self._rest

    def reset(self) -> None:
        """RST, where there is such a thing (TCP)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Never raises."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def read_flags(client: Client) -> int:
    """Refused with flags that change the object, or mean nothing."""
    flags = await client.read_word("the flags")
    if wrong := flags & ~_ALLOWED:
        raise Refused(f"the flags have {wrong:#x}")
    return flags


async def read_path(client: Client, length: int) -> bytes:
    """The path and the word behind it; Refused where either is not as it must be."""
    if length > _MAX_PATH:
        raise Refused(f"the length of the path is {length}")
    path = await client.read(length, "the path")
    if b"\0" in path:
        raise Refused("the path holds a NUL")
    if end := await client.read_word("the word behind the path"):
        raise Refused(f"the word behind the path is {end:#x}")
    return path


def word(number: int) -> bytes:
    """A number."""
    return struct.pack(">I", number)


def counted(text: bytes) -> bytes:
    """A text behind its length."""
    return word(len(text)) + text


def reply(code: int, *texts: bytes) -> bytes:
    """The answer to a scan; every text is `counted`."""
    return word(code) + word(len(texts)) + b"".join(texts)
