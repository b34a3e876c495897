"""A drwebd that does what a test wants it to: for our tests, and for those of whoever scripts a gateway.

    async with FakeDrweb() as drwebd:
        policy = {"protocol": "drweb-net", "address": str(drwebd.address)}

Rules of this file: what is on the wire comes from `fake_drweb_table` alone, never from the adapter; replies leave byte
by byte; a fault strikes every object but, unless `blind_to_eicar`, those with EICAR in them. It is not a Dr.Web: none
was ever at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Self

from policy.address import Address
from scanners.fake_drweb_table import (
    READ,
    Client,
    Code,
    Command,
    Flag,
    Refused,
    Request,
    counted,
    read_flags,
    read_path,
    reply,
    word,
)
from scanners.specimens import EICAR

_VIRUS = b"EICAR Test File (NOT a Virus!)"


class DrwebFault(StrEnum):
    """What goes wrong with an object."""

    NONE = "none"
    BLIND = "blind"  # clean, whatever it is
    SILENCE = "silence"  # it is read and never answered
    SLOW = "slow"  # one byte of the reply a second
    HALF_CODE = "half-code"  # two bytes of the result, then the end
    CODE_ONLY = "code-only"  # the result, and no count of reports
    HALF_COUNT = "half-count"  # the result and three bytes of the count
    HALF_LENGTH = "half-length"  # a report is announced, its length is cut
    HALF_REPORT = "half-report"  # a report is cut
    MISSING_REPORT = "missing-report"  # two are announced, one comes
    GARBAGE = "garbage"  # another protocol's words
    ABSURD_COUNT = "absurd-count"  # four billion reports are announced
    ABSURD_LENGTH = "absurd-length"  # a report of four gigabytes is announced
    FLOOD = "flood"  # reports that never end
    TRAILING = "trailing"  # a whole reply, and one byte more
    TWO_REPLIES = "two-replies"
    CLOSE = "close"  # the connection ends after the object, without a reply
    CLOSE_MIDWAY = "close-midway"  # the connection ends before the object (by path: as CLOSE)
    RESET = "reset"  # the connection is reset after the object
    EARLY_CLEAN = "early-clean"  # clean is said before the object is there, and the end (by path: as BLIND)
    EARLY_TAKEN = "early-taken"  # the same, but the object is taken after that


_CLEAN_REPLY = reply(Code.IS_CLEAN)
_FOUR_BILLION = word(Code.IS_CLEAN) + word(0xFFFF_FFFF)
_MIDWAY = (DrwebFault.CLOSE_MIDWAY, DrwebFault.EARLY_CLEAN, DrwebFault.EARLY_TAKEN)
_SCRIPTS = {
    DrwebFault.HALF_CODE: _CLEAN_REPLY[:2],
    DrwebFault.CODE_ONLY: _CLEAN_REPLY[:4],
    DrwebFault.HALF_COUNT: _CLEAN_REPLY[:7],
    DrwebFault.HALF_LENGTH: reply(Code.IS_CLEAN, bytes(2)),
    DrwebFault.HALF_REPORT: reply(Code.IS_CLEAN, word(20) + b"data - O"),
    DrwebFault.MISSING_REPORT: reply(Code.IS_CLEAN, counted(b"data"), b""),
    DrwebFault.GARBAGE: b"HTTP/1.0 400 Bad request\r\n\r\n",
    DrwebFault.ABSURD_COUNT: _FOUR_BILLION,
    DrwebFault.ABSURD_LENGTH: reply(Code.IS_CLEAN, word(0xFFFF_FFFF)),
    DrwebFault.TRAILING: _CLEAN_REPLY + b"\0",
    DrwebFault.TWO_REPLIES: 2 * _CLEAN_REPLY,
    DrwebFault.CLOSE: b"",
    DrwebFault.CLOSE_MIDWAY: b"",
}


class FakeDrweb:
    """Listens on `unix`, or on a TCP port of loopback. All attributes may be changed at any time.

    `code`, if set, is the result of every object without EICAR, with `reports` behind it; `raw`, if set, is the whole
    reply to one, `cut` the bytes of it that leave. `size_limit` in bytes: what is larger is too big. `delay`: seconds
    of a scan; `scanned` is called with the path of each scanned file. `segment`: bytes that leave at a time. `nul`:
    texts end in NUL. `connections` counts those open now; `requests` holds all that were understood, `complaints` what
    was wrong with the others or came behind one, `aborted` where those ended that did not come whole.
    """

    def __init__(self, unix: Path | None = None, *, fault: DrwebFault = DrwebFault.NONE) -> None:
        self._unix = unix
        self.fault = fault
        self.blind_to_eicar = False
        self.code: int | None = None
        self.reports: tuple[bytes, ...] = ()
        self.raw: bytes | None = None
        self.cut: int | None = None
        self.size_limit = 1 << 32
        self.delay = 0.0
        self.scanned: Callable[[Path], object] = lambda path: None
        self.segment = 1
        self.nul = True
        self.version = 0x0004_0021
        self.identity = b"drwebd 4.33 (fake)"
        self.bases: tuple[tuple[bytes, int], ...] = ((b"drwebase.vdb", 95_000), (b"drwtoday.vdb", 321))
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.aborted: list[str] = []
        self.connections = 0
        self._left = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<FakeDrweb {self.address} {self.fault}, {self.connections} connections, complaints {self.complaints}>"

    @property
    def address(self) -> Address:
        """Where it listens."""
        if self._unix is not None:
            return Address(unix=str(self._unix))
        assert self._server is not None, "not started"  # noqa: S101  (a mistake in the test that uses it)
        return Address(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begins to listen; OSError where the address is taken."""
        if self._unix is not None:
            self._server = await asyncio.start_unix_server(self._accept, str(self._unix))
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Ends every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def idle(self) -> None:
        """Returns once no connection is open; the caller bounds the time."""
        while self.connections:
            await self._left.wait()
            self._left.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # Held in the set until it ends, or until stop() ends it.
        task = asyncio.get_running_loop().create_task(self._serve(Client(reader, writer)))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, client: Client) -> None:
        try:
            # A client may go at any time; what it had not said by then was a complaint already.
            with contextlib.suppress(OSError):  # TimeoutError is one
                await self._obey(client)
        finally:
            await client.close()
            self.connections -= 1
            self._left.set()

    async def _obey(self, client: Client) -> None:
        try:
            command = await client.read_word("the command")
            if command == Command.SCAN:
                await self._scan(client)
                return
            answer = self._tell(command)
        except Refused as why:
            (self.aborted if why.code is Code.READSOCKET else self.complaints).append(str(why))
            await self._send(client, reply(why.code))
            await client.hear_rest()
        else:
            request = Request(command=command)
            self.requests.append(request)
            await self._send(client, answer)
            await self._hear_rest(client, request)

    def _tell(self, command: int) -> bytes:
        match command:
            case Command.VERSION:
                return word(self.version)
            case Command.BASEINFO:
                rows = [self._text(name) + word(viruses) for name, viruses in self.bases]
                return word(len(rows)) + b"".join(rows)
            case Command.IDSTRING:
                return self._text(self.identity)
        raise Refused(f"the command is {command:#x}")

    async def _scan(self, client: Client) -> None:
        flags = await read_flags(client)
        if length := await client.read_word("the length of the path"):
            path = await read_path(client, length)
            request = Request(command=Command.SCAN, flags=flags, path=path)
            await self._answer(client, request, self._scan_file(Path(os.fsdecode(path))))
            return
        size = await client.read_word("the size")
        head = await client.read(min(size, 1), "the object")
        if size and self.fault in _MIDWAY and not self._spared(head):
            await self._strike_midway(client)
            return
        code, sha256 = await self._scan_stream(client, size, head)
        await self._answer(client, Request(command=Command.SCAN, flags=flags, size=size, sha256=sha256), code)

    def _spared(self, head: bytes) -> bool:
        """The probes of a proof begin with EICAR or with filler; the whole is not there to be searched yet."""
        return head in (EICAR[:1], b"\0") and not self.blind_to_eicar

    async def _scan_stream(self, client: Client, size: int, head: bytes) -> tuple[Code, str]:
        search, digest, left = _Search(), hashlib.sha256(), size
        while head:
            search.add(head)
            digest.update(head)
            left -= len(head)
            head = await client.read(min(left, READ), "the object")
        return self._judge(size, search), digest.hexdigest()

    def _scan_file(self, path: Path) -> Code:
        search = _Search()
        try:
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                return Code.SYMLINK
            if not stat.S_ISREG(kind):
                return Code.NO_REGFILE
            with path.open("rb") as file:
                while part := file.read(READ):
                    search.add(part)
                size = file.tell()
        except OSError:
            return Code.READ_ERR
        self.scanned(path)
        return self._judge(size, search)

    def _judge(self, size: int, search: _Search) -> Code:
        if size > self.size_limit:
            return Code.TOO_BIG
        return Code.KNOWN_VIRUS if search.hit else Code.IS_CLEAN

    async def _answer(self, client: Client, request: Request, code: Code) -> None:
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        if code is Code.KNOWN_VIRUS and not self.blind_to_eicar:
            named = request.flags & (Flag.RETURN_VIRUSES | Flag.RETURN_REPORT)
            report = self._text(b"data infected with " + _VIRUS)
            await self._send(client, reply(code, *([report] if named else [])))
        elif self.fault is not DrwebFault.NONE:
            await self._strike(client)
        else:
            said = reply(code if self.code is None else self.code, *map(counted, self.reports))
            await self._send(client, (said if self.raw is None else self.raw)[: self.cut])
        await self._hear_rest(client, request)

    async def _strike(self, client: Client) -> None:
        match self.fault:
            case DrwebFault.SILENCE:
                await client.watch(None)
            case DrwebFault.RESET:
                client.reset()
            case DrwebFault.SLOW:
                for byte in _CLEAN_REPLY:
                    await client.send(bytes([byte]))
                    await client.watch(1)
            case DrwebFault.FLOOD:
                await self._send(client, _FOUR_BILLION)
                while True:
                    await client.send(counted(b"x" * 4096))
            case fault:
                await self._send(client, _SCRIPTS.get(fault, _CLEAN_REPLY))

    async def _strike_midway(self, client: Client) -> None:
        await self._send(client, b"" if self.fault is DrwebFault.CLOSE_MIDWAY else _CLEAN_REPLY)
        if self.fault is DrwebFault.EARLY_TAKEN:
            await client.hear_rest()

    async def _send(self, client: Client, said: bytes) -> None:
        for start in range(0, len(said), self.segment):
            await client.send(said[start : start + self.segment])

    async def _hear_rest(self, client: Client, request: Request) -> None:
        rest = await client.hear_rest()
        if rest and not (request.path is not None and rest == word(0)):
            self.complaints.append(f"{len(rest)} bytes came behind the request: {rest[:16].hex(' ', 4)}")

    def _text(self, words: bytes) -> bytes:
        return counted(words + b"\0" * self.nul)


class _Search:
    """EICAR in bytes that come in parts."""

    def __init__(self) -> None:
        self.hit = False
        self._seam = b""

    def add(self, part: bytes) -> None:
        seen = self._seam + part
        self.hit = self.hit or EICAR in seen
        self._seam = seen[1 - len(EICAR) :]
