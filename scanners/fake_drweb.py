"""A drwebd that does what a test wants it to: for our tests, and for those of whoever scripts a gateway.

    async with FakeDrweb() as drwebd:
        policy = {"protocol": "drweb-net", "address": str(drwebd.address)}

Rules of this file: it is written from the published description of the protocol alone and shares neither code nor
numbers with the adapter, so that one's mistake is not the other's; every reply leaves byte by byte; a fault strikes
every object but, unless `blind_to_eicar`, those with EICAR in them. It is not a Dr.Web: none was ever at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from policy.address import Address
from scanners.specimens import EICAR

_READ = 64 * 1024
_OVERLAP = len(EICAR) - 1

# The words of a reply that this daemon says of its own accord.
_CLEAN = 0x0010_0000
_KNOWN_VIRUS = 0x20
_READ_ERROR = 0x1
_SYMLINK = 0x400
_NO_REGULAR_FILE = 0x800
_TOO_BIG = 0x2000


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
    FLOOD = "flood"  # a report that never ends
    TRAILING = "trailing"  # a whole reply, and one byte more
    TWO_REPLIES = "two-replies"
    CLOSE = "close"  # the connection ends after the object, without a reply
    CLOSE_MIDWAY = "close-midway"  # the connection ends before the object (by path: as CLOSE)
    RESET = "reset"  # the connection is reset after the object
    EARLY_CLEAN = "early-clean"  # clean is said before the object is there (by path: as BLIND)


_CLEAN_REPLY = struct.pack(">II", _CLEAN, 0)
_SCRIPTS = {
    DrwebFault.HALF_CODE: _CLEAN_REPLY[:2],
    DrwebFault.CODE_ONLY: _CLEAN_REPLY[:4],
    DrwebFault.HALF_COUNT: _CLEAN_REPLY[:7],
    DrwebFault.HALF_LENGTH: struct.pack(">IIH", _CLEAN, 1, 0),
    DrwebFault.HALF_REPORT: struct.pack(">III", _CLEAN, 1, 20) + b"data - O",
    DrwebFault.MISSING_REPORT: struct.pack(">III", _CLEAN, 2, 4) + b"data",
    DrwebFault.GARBAGE: b"HTTP/1.0 400 Bad request\r\n\r\n",
    DrwebFault.ABSURD_COUNT: struct.pack(">II", _CLEAN, 0xFFFF_FFFF),
    DrwebFault.ABSURD_LENGTH: struct.pack(">III", _CLEAN, 1, 0xFFFF_FFFF),
    DrwebFault.TRAILING: _CLEAN_REPLY + b"\0",
    DrwebFault.TWO_REPLIES: 2 * _CLEAN_REPLY,
    DrwebFault.CLOSE: b"",
    DrwebFault.CLOSE_MIDWAY: b"",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: 1 is a scan, 2 to 4 are questions about the daemon. `path` b"" for sent bytes."""

    command: int
    flags: int = 0
    path: bytes = b""
    size: int = 0
    tail: int = 0


class FakeDrweb:
    """Listens on `unix`, or on a TCP port of loopback. All attributes may be changed at any time.

    `code`, if set, is the result of every object without EICAR, with `reports` behind it. `size_limit` in bytes:
    what is larger is too big. `delay`: seconds of a scan. `segment`: bytes of a reply that leave at a time.
    `connections` counts those open now, `requests` holds all that were understood.
    """

    def __init__(self, unix: Path | None = None, *, fault: DrwebFault = DrwebFault.NONE) -> None:
        self._unix = unix
        self.fault = fault
        self.blind_to_eicar = False
        self.code: int | None = None
        self.reports: tuple[bytes, ...] = ()
        self.size_limit = 1 << 32
        self.delay = 0.0
        self.segment = 1
        self.version = 0x0004_0021
        self.identity = b"drwebd 4.33 (fake)\0"
        self.bases: tuple[tuple[bytes, int], ...] = ((b"drwebase.vdb\0", 95_000), (b"drwtoday.vdb\0", 321))
        self.requests: list[Request] = []
        self.connections = 0
        self._left = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<FakeDrweb {self.address} {self.fault}, {self.connections} connections>"

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
        task = asyncio.get_running_loop().create_task(self._serve(_Peer(reader, writer)))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, peer: _Peer) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                await self._obey(peer)
        finally:
            await peer.close()
            self.connections -= 1
            self._left.set()

    async def _obey(self, peer: _Peer) -> None:
        command = await peer.read_word()
        if command == 1:
            await self._scan(peer)
            return
        self.requests.append(Request(command))
        match command:
            case 2:
                await self._send(peer, struct.pack(">I", self.version))
            case 3:
                rows = [_text(name) + struct.pack(">I", viruses) for name, viruses in self.bases]
                await self._send(peer, struct.pack(">I", len(rows)) + b"".join(rows))
            case 4:
                await self._send(peer, _text(self.identity))

    async def _scan(self, peer: _Peer) -> None:
        flags, name_length = await peer.read_word(), await peer.read_word()
        if name_length:
            path = await peer.read(name_length)
            self.requests.append(Request(1, flags, path, tail=await peer.read_word()))
            code, infected = self._scan_file(path)
        else:
            size = await peer.read_word()
            self.requests.append(Request(1, flags, size=size))
            if size and self._strikes_before(await peer.peek(1)):
                if self.fault is DrwebFault.EARLY_CLEAN:
                    await self._send(peer, _CLEAN_REPLY)
                return
            code, infected = await self._scan_stream(peer, size)
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._answer(peer, code, infected=infected)

    def _strikes_before(self, head: bytes) -> bool:
        """Sent probes are spared by how they begin: with EICAR, or with filler."""
        if self.fault in (DrwebFault.CLOSE_MIDWAY, DrwebFault.EARLY_CLEAN):
            return self.blind_to_eicar or head not in (EICAR[:1], b"\0")
        return False

    async def _scan_stream(self, peer: _Peer, size: int) -> tuple[int, bool]:
        search, left = _Search(), size
        while left:
            part = await peer.read_some(min(left, _READ))
            left -= len(part)
            search.add(part)
        return self._judge(size, infected=search.hit)

    def _scan_file(self, path: bytes) -> tuple[int, bool]:
        search = _Search()
        try:
            kind = os.lstat(path).st_mode
            if stat.S_ISLNK(kind):
                return _SYMLINK, False
            if not stat.S_ISREG(kind):
                return _NO_REGULAR_FILE, False
            with open(path, "rb") as file:
                while part := file.read(_READ):
                    search.add(part)
                return self._judge(file.tell(), infected=search.hit)
        except OSError:
            return _READ_ERROR, False

    def _judge(self, size: int, *, infected: bool) -> tuple[int, bool]:
        if size > self.size_limit:
            return _TOO_BIG, False
        return (_KNOWN_VIRUS if infected else _CLEAN), infected

    async def _answer(self, peer: _Peer, code: int, *, infected: bool) -> None:
        if infected and not self.blind_to_eicar:
            report = b"data infected with EICAR Test File (NOT a Virus!)\0"
            await self._send(peer, struct.pack(">II", code, 1) + _text(report))
        elif self.fault is not DrwebFault.NONE:
            await self._strike(peer)
        else:
            said = code if self.code is None else self.code
            reports = b"".join(_text(report) for report in self.reports)
            await self._send(peer, struct.pack(">II", said, len(self.reports)) + reports)

    async def _strike(self, peer: _Peer) -> None:
        match self.fault:
            case DrwebFault.SILENCE:
                await peer.read(1)  # EOFError once the client is gone
            case DrwebFault.RESET:
                peer.reset()
            case DrwebFault.SLOW:
                await self._drip(peer)
            case DrwebFault.FLOOD:
                await self._send(peer, struct.pack(">II", _CLEAN, 0xFFFF_FFFF))
                while True:
                    await peer.send(_text(b"x" * 4096))
            case fault:
                await self._send(peer, _SCRIPTS.get(fault, _CLEAN_REPLY))

    async def _drip(self, peer: _Peer) -> None:
        for byte in _CLEAN_REPLY:
            await peer.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):  # EOFError, and the end, once the client is gone
                async with asyncio.timeout(1):
                    await peer.read(1)

    async def _send(self, peer: _Peer, reply: bytes) -> None:
        for start in range(0, len(reply), self.segment):
            await peer.send(reply[start : start + self.segment])


class _Search:
    """EICAR in bytes that come in parts."""

    def __init__(self) -> None:
        self.hit = False
        self._tail = b""

    def add(self, part: bytes) -> None:
        seen = self._tail + part
        self.hit = self.hit or EICAR in seen
        self._tail = seen[-_OVERLAP:]


class _Peer:
    """One connection; EOFError once the client is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._head = b""

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + await self._reader.readexactly(size - len(head))

    async def read_word(self) -> int:
        return int.from_bytes(await self.read(4), "big")

    async def read_some(self, most: int) -> bytes:
        if self._head:
            return await self.read(min(most, len(self._head)))
        if not (part := await self._reader.read(most)):
            raise EOFError
        return part

    async def peek(self, size: int) -> bytes:
        self._head = await self.read(size)
        return self._head

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)  # the client's turn, that it may see this segment alone

    def reset(self) -> None:
        """RST, where there is such a thing (TCP)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _text(words: bytes) -> bytes:
    return struct.pack(">I", len(words)) + words
