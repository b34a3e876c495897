"""A clamd that does what a test wants it to: for our tests, and for those of whoever scripts a gateway.

    async with FakeClamd() as clamd:
        policy = {"protocol": "clamav-net", "address": str(clamd.address)}

Rules of this file: without a fault it answers as clamd 1.4 does, proven by the tests that both must pass; it finds
what the built-in engine finds; a fault strikes every object but, unless `blind_to_eicar`, those with EICAR in them,
so that the proof of an engine stands and the objects behind it meet the fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Coroutine
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Self

from policy.address import Address
from policy.verdict import Status
from scanners.builtin.budget import Budget
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.clamd.replies import TIMED_OUT
from scanners.engine import Answer
from scanners.specimens import EICAR

_READ = 256 * 1024
_FD_NUMBER = 11


class Fault(StrEnum):
    """What goes wrong with an object."""

    NONE = "none"
    BLIND = "blind"  # OK, whatever it is
    SILENCE = "silence"  # it is read and never answered
    HALF_REPLY = "half-reply"  # the reply ends in the middle of the name
    NO_TERMINATOR = "no-terminator"  # the whole reply, but for its last byte
    GARBAGE = "garbage"  # a reply that means nothing
    UNKNOWN_COMMAND = "unknown-command"
    ERROR = "error"  # clamd's own words for a full disk
    TIMED_OUT = "timed-out"  # clamd's own words for a slow client
    TWO_REPLIES = "two-replies"
    LONG_REPLY = "long-reply"  # a megabyte without an end
    SLOW = "slow"  # one byte of the reply a second
    CLOSE = "close"  # the connection ends after the object, without a reply
    CLOSE_MIDWAY = "close-midway"  # the connection ends after the command
    RESET = "reset"  # the connection is reset after the object
    EARLY_OK = "early-ok"  # OK is said before the object is there
    EARLY_LIMIT = "early-limit"  # clamd's own words for a large object, before it is there


_WORDS = {
    Fault.BLIND: b"OK\0",
    Fault.HALF_REPLY: b"Eicar-Te",
    Fault.NO_TERMINATOR: b"OK",
    Fault.GARBAGE: b"\x15\x03\x01\0",
    Fault.ERROR: b"Can't write to file ERROR\0",
    Fault.SLOW: b"OK\0",
}
_WHOLE_REPLIES = {
    Fault.UNKNOWN_COMMAND: b"UNKNOWN COMMAND\0",
    Fault.TIMED_OUT: TIMED_OUT,
    Fault.LONG_REPLY: b"x" * 1024 * 1024,
    Fault.CLOSE: b"",
    Fault.RESET: b"",
}
_BEFORE = {
    Fault.CLOSE_MIDWAY: b"",
    Fault.EARLY_OK: b"stream: OK\0",
    Fault.EARLY_LIMIT: b"INSTREAM size limit exceeded. ERROR\0",
}


class FakeClamd:
    """Listens on `unix`, or on a TCP port of loopback. Sizes are bytes; all attributes may be changed at any time.

    `stream_limit` is clamd's StreamMaxLength, `file_limit` its MaxFileSize, with `alert_exceeds` and
    `alert_encrypted` as in clamd.conf; `takes_descriptors` False refuses FILDES. While `serving` is cleared
    connections are taken and nobody listens to them. `connections` counts those open now, `commands` holds all
    that were given.
    """

    def __init__(self, unix: Path | None = None, *, fault: Fault = Fault.NONE) -> None:
        self._unix = unix
        self.fault = fault
        self.blind_to_eicar = False
        self.version = "ClamAV 1.4.6/27000/Sun Nov 22 09:00:00 2026"
        self.stream_limit = 1 << 30
        self.file_limit = 1 << 30
        self.alert_exceeds = True
        self.alert_encrypted = True
        self.takes_descriptors = True
        self.delay = 0.0
        self.serving = asyncio.Event()
        self.serving.set()
        self.commands: list[bytes] = []
        self.connections = 0
        self._left = asyncio.Event()
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<FakeClamd {self.address} {self.fault}, {self.connections} connections>"

    @property
    def address(self) -> Address:
        """Where it listens."""
        if self._unix is not None:
            return Address(unix=str(self._unix))
        assert self._listener is not None, "not started"  # noqa: S101  (a mistake in the test that uses it)
        return Address(host="127.0.0.1", port=self._listener.getsockname()[1])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self, backlog: int = 128) -> None:
        """Begins to listen; OSError where the address is taken."""
        listener = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
        try:
            listener.setblocking(False)
            listener.bind(str(self._unix) if self._unix else ("127.0.0.1", 0))
            listener.listen(backlog)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._hold(self._accept(listener))

    async def stop(self) -> None:
        """Ends every connection. The Unix socket's file stays behind, as with a clamd that was killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def idle(self) -> None:
        """Returns once no connection is open; the caller bounds the time."""
        while self.connections:
            await self._left.wait()
            self._left.clear()

    def _hold(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # Held in the set until it ends, or until stop() ends it.
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            self.connections += 1
            peer = _Peer(sock)
            # Also where the task is ended before it ran at all.
            self._hold(self._serve(peer)).add_done_callback(partial(self._leave, peer))

    def _leave(self, peer: _Peer, _: asyncio.Task[None]) -> None:
        peer.close()
        self.connections -= 1
        self._left.set()

    async def _serve(self, peer: _Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            await self.serving.wait()
            await self._obey(peer, await peer.read_command())

    async def _obey(self, peer: _Peer, command: bytes) -> None:
        self.commands.append(command)
        match command:
            case b"PING":
                await peer.send(b"PONG\0")
            case b"VERSION":
                await peer.send(self.version.encode() + b"\0")
            case b"FILDES" if self.takes_descriptors:
                await self._answer_descriptor(peer)
            case b"INSTREAM":
                await self._answer_stream(peer)
            case _ if command.startswith(b"SCAN "):
                await self._answer_path(peer, command.removeprefix(b"SCAN "))
            case _:
                await peer.send(b"UNKNOWN COMMAND\0")

    async def _answer_descriptor(self, peer: _Peer) -> None:
        descriptor = await peer.read_descriptor()
        if descriptor is None:
            await peer.send(b"No file descriptor received. ERROR\0")
            return
        try:
            await self._answer(peer, _Region(descriptor), b"fd[%d]: " % _FD_NUMBER)
        finally:
            os.close(descriptor)

    async def _answer_path(self, peer: _Peer, path: bytes) -> None:
        subject = path + b": "
        try:
            kind = os.lstat(path).st_mode
            if stat.S_ISLNK(kind):
                await peer.send(subject + b"OK\0")  # real clamd never opens it, and says so to nobody
                return
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            await peer.send(subject + b"File path check failure: No such file or directory. ERROR\0")
            return
        except OSError:
            await peer.send(subject + b"Access denied. ERROR\0")
            return
        try:
            if not stat.S_ISREG(kind):
                await peer.send(subject + b"Not supported file type ERROR\0" + subject + b"OK\0")
            else:
                await self._answer(peer, _Region(descriptor), subject)
        finally:
            os.close(descriptor)

    async def _answer_stream(self, peer: _Peer) -> None:
        with tempfile.TemporaryFile() as spool:
            if await self._receive(peer, spool):
                await self._answer(peer, _Region(spool.fileno()), b"stream: ")

    def _strikes_before(self, head: bytes) -> bool:
        """Probes are spared, by how they begin: with EICAR, or with filler."""
        spared = EICAR.startswith(head) or not any(head)
        return self.fault in _BEFORE and (self.blind_to_eicar or not spared)

    async def _receive(self, peer: _Peer, spool: IO[bytes]) -> bool:
        total = 0
        while length := struct.unpack(">I", await peer.read(4))[0]:
            total += length
            # Real clamd judges the announced length, before the data.
            if total > self.stream_limit:
                await peer.send(_BEFORE[Fault.EARLY_LIMIT])
                return False
            if self._strikes_before(await peer.peek(min(length, 8))):
                await peer.send(_BEFORE[self.fault])
                return False
            while length:
                part = await peer.read_some(length)
                length -= len(part)
                spool.write(part)
        spool.flush()
        return True

    async def _answer(self, peer: _Peer, file: _Region, subject: bytes) -> None:
        answer = Walk(Signatures(), Budget()).scan(file)
        if self.delay:
            await asyncio.sleep(self.delay)
        struck = answer.status is not Status.FOUND or self.blind_to_eicar
        if self.fault is Fault.NONE or not struck:
            await peer.send(subject + self._judge(file.size, answer) + b"\0")
            return
        await self._strike(peer, subject)

    def _judge(self, size: int, answer: Answer) -> bytes:
        if size > self.file_limit:
            return b"Heuristics.Limits.Exceeded.MaxFileSize FOUND" if self.alert_exceeds else b"OK"
        if answer.virus is not None:
            return answer.virus.encode() + b" FOUND"
        if answer.status is Status.SKIPPED and "encrypted" in answer.detail:
            return b"Heuristics.Encrypted.Zip FOUND" if self.alert_encrypted else b"OK"
        if answer.status is Status.SKIPPED:
            return b"Heuristics.Limits.Exceeded.MaxScanSize FOUND"
        return b"OK"

    async def _strike(self, peer: _Peer, subject: bytes) -> None:
        match self.fault:
            case Fault.SILENCE:
                await peer.read(1)
            case Fault.RESET:
                peer.reset()
            case Fault.TWO_REPLIES:
                await peer.send(2 * (subject + b"OK\0"))
            case Fault.SLOW:
                for byte in subject + _WORDS[self.fault]:
                    await peer.send(bytes([byte]))
                    with contextlib.suppress(TimeoutError):  # EOFError, and the end, once the client is gone
                        async with asyncio.timeout(1):
                            await peer.read(1)
            case fault if fault in _WORDS:
                await peer.send(subject + _WORDS[fault])
            case fault:
                await peer.send(_WHOLE_REPLIES.get(fault) or _BEFORE.get(fault, b""))


class _Region:
    """What a descriptor holds, read at any place without moving its position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class _Peer:
    """One connection, with the descriptors that come along; EOFError once the client is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._data = b""
        self._descriptors: list[int] = []

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._sock.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def reset(self) -> None:
        """RST, where there is such a thing (TCP); on a Unix socket unread data do the same."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def read_command(self) -> bytes:
        while b"\0" not in self._data:
            await self._fill()
        command, _, self._data = self._data.partition(b"\0")
        return command.removeprefix(b"z")

    async def read_descriptor(self) -> int | None:
        await self.read(1)
        return self._descriptors.pop() if self._descriptors else None

    async def read(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._fill()
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def peek(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._fill()
        return self._data[:size]

    async def read_some(self, most: int) -> bytes:
        if not self._data:
            await self._fill()
        return await self.read(min(most, len(self._data)))

    async def _fill(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, _READ, 4)
            except BlockingIOError:
                await self._readable()
                continue
            self._descriptors += descriptors
            self._data += data
            if not data:
                raise EOFError
            return

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._sock, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._sock)
