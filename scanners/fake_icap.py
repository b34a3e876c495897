"""An ICAP server that does what a test wants it to: for our tests, and for those of whoever scripts a gateway.

    async with FakeIcap() as server:
        policy = {"protocol": "icap", "address": str(server.address), "uri": server.uri}

Rules of this file: without a fault it answers as c-icap 0.5 with virus_scan does, proven by the tests that both must
pass; it shares no code with the client; it finds what the built-in engine finds; a fault strikes every object but,
unless `blind_to_eicar`, those with EICAR in them, so that the proof of an engine stands and the objects behind it meet
the fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Self

from policy.address import Address
from policy.verdict import Status
from scanners.builtin.budget import Budget
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.specimens import EICAR

_READ = 256 * 1024
_BLOCK_PAGE = b"<html><body><h1>VIRUS FOUND</h1></body></html>\n"
_BLOCKED = b"HTTP/1.0 403 Forbidden\r\nServer: C-ICAP\r\nContent-Type: text/html\r\n\r\n"


class Fault(StrEnum):
    """What goes wrong with an object."""

    NONE = "none"
    BLIND = "blind"  # 204, whatever it is
    SILENCE = "silence"  # it is read and never answered
    CLOSE = "close"  # the connection ends after the object, without a reply
    CLOSE_MIDWAY = "close-midway"  # the connection ends after the preview
    RESET = "reset"  # the connection is reset after the object
    HALF_STATUS = "half-status"  # the reply ends in its first line
    HALF_HEADER = "half-header"  # the reply ends in its headers
    HALF_BODY = "half-body"  # the object comes back by half, and the connection ends in a chunk
    SHORT_BODY = "short-body"  # the object comes back by half, with a proper end: c-icap's truncated 200
    OTHER_BODY = "other-body"  # one byte of the object is another
    LONG_BODY = "long-body"  # the object comes back with a byte more
    ECHO = "echo"  # the object comes back as it was, also where a 204 would do
    EARLY_ECHO = "early-echo"  # the object comes back while it is still being sent
    EARLY_204 = "early-204"  # 204 before the object is there
    EARLY_FOUND = "early-found"  # a virus, told half-way; then the connection ends
    BLOCK_PAGE = "block-page"  # an HTTP 403 without any header about a virus
    HTTP = "http"  # an HTTP server answers
    GARBAGE = "garbage"
    NO_ENCAPSULATED = "no-encapsulated"  # a 200 that does not say what is in it
    WRONG_OFFSET = "wrong-offset"  # Encapsulated names another place than the empty line
    BAD_CHUNK = "bad-chunk"  # a chunk size that is no number
    NEGATIVE_CHUNK = "negative-chunk"
    HUGE_CHUNK = "huge-chunk"  # a chunk size of twenty digits
    LONG_HEADER = "long-header"  # a megabyte of header without an end
    MANY_HEADERS = "many-headers"  # ten thousand of them
    TWO_REPLIES = "two-replies"
    UNEXPECTED_CONTINUE = "unexpected-continue"  # 100 Continue after everything was sent
    SLOW = "slow"  # one byte of the reply a second


_EARLY = {Fault.EARLY_204, Fault.EARLY_FOUND, Fault.EARLY_ECHO}
_WITH_BODY = b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n"
_PLAIN_HTTP = b"HTTP/1.1 200 OK\r\n\r\n"
_OK = b"ICAP/1.0 200 OK\r\n"
_UNMODIFIED = b'ICAP/1.0 204 Unmodified\r\nConnection: keep-alive\r\nISTag: "%s"\r\n\r\n'

_WHOLE_REPLIES = {
    Fault.CLOSE: b"",
    Fault.RESET: b"",
    Fault.HALF_STATUS: b"ICAP/1.0 20",
    Fault.HALF_HEADER: b"ICAP/1.0 204 Unmodified\r\nISTag: x\r\n",
    Fault.BLOCK_PAGE: _OK + _WITH_BODY % len(_BLOCKED) + _BLOCKED + b"0\r\n\r\n",
    Fault.HTTP: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    Fault.GARBAGE: b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
    Fault.NO_ENCAPSULATED: _OK + b"\r\n",
    Fault.WRONG_OFFSET: _OK + _WITH_BODY % (len(_PLAIN_HTTP) + 1) + _PLAIN_HTTP + b"0\r\n\r\n",
    Fault.BAD_CHUNK: _OK + _WITH_BODY % len(_PLAIN_HTTP) + _PLAIN_HTTP + b"xyz\r\n",
    Fault.NEGATIVE_CHUNK: _OK + _WITH_BODY % len(_PLAIN_HTTP) + _PLAIN_HTTP + b"-1\r\n",
    Fault.HUGE_CHUNK: _OK + _WITH_BODY % len(_PLAIN_HTTP) + _PLAIN_HTTP + b"f" * 20 + b"\r\n",
    Fault.LONG_HEADER: _OK + b"X: " + b"x" * 1024 * 1024,
    Fault.MANY_HEADERS: _OK + b"X: x\r\n" * 10_000 + b"\r\n",
    Fault.TWO_REPLIES: 2 * b"ICAP/1.0 204 Unmodified\r\n\r\n",
    Fault.UNEXPECTED_CONTINUE: 3 * b"ICAP/1.0 100 Continue\r\n\r\n" + b"ICAP/1.0 204 Unmodified\r\n\r\n",
}


@dataclass
class Request:
    """One request as it came. `shown`: bytes in the preview, None without; `size`: bytes in all."""

    method: str
    uri: str
    headers: Mapping[str, str]
    shown: int | None = None
    ieof: bool = False
    size: int = 0


@dataclass
class FakeIcap:
    """Listens on a TCP port of loopback, with `tls` for TLS alone. All attributes may be changed at any time.

    `options` are the headers of the reply to OPTIONS (c-icap's, as it comes), with `options_code`. `reply`, if set, is
    sent for every object, as it stands, once that was received. `unscanned`: objects that begin so get a 204 after the
    preview; so do those larger than `size_limit` bytes. `served`: requests on one connection, after which it ends
    without a word (c-icap's MaxKeepAliveRequests). `found_headers`: how a virus is told, with `%s` for its name.
    `delay`: seconds before an answer. While `serving` is cleared connections are taken and nobody listens to them.

    `connections` counts those open now, `accepted` all there were, `requests` holds what was asked."""

    fault: Fault = Fault.NONE
    uri: str = "/avscan"
    tls: ssl.SSLContext | None = None
    options: dict[str, str] = field(
        default_factory=lambda: {
            "Methods": "RESPMOD, REQMOD",
            "Service": "C-ICAP/0.5.10 server - Antivirus service",
            "Transfer-Preview": "*",
            "Options-TTL": "3600",
            "Preview": "1024",
            "Allow": "204",
        }
    )
    options_code: int = 200
    istag: str = "CI0001-fake"
    reply: bytes | None = None
    unscanned: bytes | None = b"\x89PNG"
    size_limit: int = 1 << 40
    served: int = 101
    blind_to_eicar: bool = False
    delay: float = 0.0
    found_headers: tuple[str, ...] = (
        "X-Infection-Found: Type=0; Resolution=2; Threat=%s;",
        "X-Violations-Found: 1\r\n\t-\r\n\t%s\r\n\t0\r\n\t0",
    )
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        self.serving = asyncio.Event()
        self.serving.set()
        self._left = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def address(self) -> Address:
        """Where it listens, or did."""
        return Address(host="127.0.0.1", port=self._port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begins to listen, on the same port as the time before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self.tls, limit=_READ)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Returns once no connection is open; the caller bounds the time."""
        while self.connections:
            await self._left.wait()
            self._left.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a stream server's callback is one)
        self._tasks.add(task)
        self.connections += 1
        self.accepted += 1
        try:
            await self.serving.wait()
            for _ in range(self.served):
                if not await _Service(self, reader, writer).serve():
                    break
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            # Whoever is gone is gone. stop() awaits the task, whose end is all that it wants to know.
            pass
        finally:
            writer.close()
            self.connections -= 1
            self._tasks.discard(task)
            self._left.set()


class _Service:
    """One request on one connection."""

    def __init__(self, fake: FakeIcap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._fake = fake
        self._reader = reader
        self._writer = writer
        self._response = b""
        self._http: Mapping[str, str] = {}

    async def serve(self) -> bool:
        """False where the connection is to end."""
        request = await self._read_head()
        self._fake.requests.append(request)
        if request.uri.partition("?")[0] != self._fake.uri:
            return await self._send(b"ICAP/1.0 404 Service not found\r\nConnection: close\r\n\r\n")
        if request.method == "OPTIONS":
            return await self._tell_options()
        await self._read_http(request)
        with tempfile.TemporaryFile() as spool:
            return await self._check(request, spool)

    async def _send(self, data: bytes, *, stay: bool = False) -> bool:
        self._writer.write(data)
        await self._writer.drain()
        return stay

    async def _read_head(self) -> Request:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, uri, version = lines[0].split(" ")
        assert version == "ICAP/1.0"  # noqa: S101  (the client that is tested)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        return Request(method, re.sub(r"^icap://[^/]+", "", uri), headers)

    async def _read_http(self, request: Request) -> None:
        places = {
            k: int(v) for k, _, v in (p.strip().partition("=") for p in request.headers["encapsulated"].split(","))
        }
        block = await self._reader.readexactly(places["res-body"])
        self._response = block[places["res-hdr"] :]
        lines = self._response.decode().split("\r\n")
        self._http = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}

    async def _tell_options(self) -> bool:
        told = {**self._fake.options, "ISTag": f'"{self._fake.istag}"', "Encapsulated": "null-body=0"}
        head = [f"ICAP/1.0 {self._fake.options_code} Whatever", *(f"{name}: {value}" for name, value in told.items())]
        return await self._send("\r\n".join([*head, "", ""]).encode(), stay=True)

    async def _check(self, request: Request, spool: IO[bytes]) -> bool:
        if "preview" in request.headers:
            request.shown = int(request.headers["preview"])
            request.ieof = await self._receive(request, spool)
            if self._declines(spool):
                return await self._send(self._unmodified(), stay=True)
        if not request.ieof:
            if self._fake.fault is Fault.CLOSE_MIDWAY and not self._spares(spool):
                return False
            if request.shown is not None:
                await self._send(b"ICAP/1.0 100 Continue\r\n\r\n")
            if self._fake.fault in _EARLY and not self._spares(spool):
                return await self._strike_early(request, spool)
            await self._receive(request, spool)
        return await self._answer(request, spool)

    def _declines(self, spool: IO[bytes]) -> bool:
        """As virus_scan: by what it sees first, and by what HTTP says of the size."""
        unscanned = self._fake.unscanned
        size = int(self._http.get("content-length", 0))
        shown = os.pread(spool.fileno(), 64, 0)
        return size > self._fake.size_limit or (unscanned is not None and shown.startswith(unscanned))

    def _spares(self, spool: IO[bytes]) -> bool:
        """Probes, as far as the preview shows: EICAR, or the filler before it."""
        head = os.pread(spool.fileno(), 8, 0)
        probe = EICAR.startswith(head) or not any(head) or head in (b"filler\0\0", b"eicar.co")
        return bool(head) and probe and not self._fake.blind_to_eicar

    async def _strike_early(self, request: Request, spool: IO[bytes]) -> bool:
        fault = self._fake.fault
        if fault is not Fault.EARLY_ECHO:
            return await self._send(self._unmodified() if fault is Fault.EARLY_204 else self._found("Early"))
        await self._send(_OK + _WITH_BODY % len(self._response) + self._response)
        await self._echo(spool, 0, request.size)
        await self._receive(request, spool, echo=True)
        return await self._send(b"0\r\n\r\n", stay=True)

    async def _receive(self, request: Request, spool: IO[bytes], *, echo: bool = False) -> bool:
        """A body up to its end, or a preview's; whether it ended with `ieof`."""
        while True:
            line = await self._reader.readuntil(b"\r\n")
            left = int(line.split(b";")[0], 16)
            while left:
                part = await self._reader.read(min(left, _READ))
                if not part:
                    raise EOFError
                left -= len(part)
                request.size += len(part)
                spool.write(part)
                if echo:
                    await self._send(b"%x\r\n" % len(part) + part + b"\r\n")
            await self._reader.readexactly(2)
            if line.startswith(b"0"):
                spool.flush()
                return b"ieof" in line

    async def _echo(self, spool: IO[bytes], offset: int, end: int) -> None:
        while offset < end:
            part = os.pread(spool.fileno(), min(_READ, end - offset), offset)
            offset += len(part)
            await self._send(b'%x; part="1"\r\n' % len(part) + part + b"\r\n")

    def _unmodified(self) -> bytes:
        return _UNMODIFIED % self._fake.istag.encode()

    def _found(self, virus: str) -> bytes:
        told = "".join(f"{line.replace('%s', virus)}\r\n" for line in self._fake.found_headers).encode()
        page = b"%x\r\n" % len(_BLOCK_PAGE) + _BLOCK_PAGE + b"\r\n0\r\n\r\n"
        return _OK + told + _WITH_BODY % len(_BLOCKED) + _BLOCKED + page

    async def _answer(self, request: Request, spool: IO[bytes]) -> bool:
        fake = self._fake
        if fake.delay:
            await asyncio.sleep(fake.delay)
        answer = Walk(Signatures(), Budget()).scan(_Region(spool.fileno()))
        virus = answer.virus or ("Heuristics.Encrypted.Zip" if answer.status is Status.SKIPPED else None)
        if (answer.virus is None or fake.blind_to_eicar) and fake.reply is not None:
            return await self._send(fake.reply, stay=True)
        if (answer.virus is None or fake.blind_to_eicar) and fake.fault is not Fault.NONE:
            return await self._strike(request, spool)
        if virus is not None:
            return await self._send(self._found(virus), stay=True)
        if "204" in request.headers.get("allow", ""):
            return await self._send(self._unmodified(), stay=True)
        return await self._give_back(request, spool)

    async def _strike(self, request: Request, spool: IO[bytes]) -> bool:
        match self._fake.fault:
            case Fault.BLIND:
                return await self._send(self._unmodified(), stay=True)
            case Fault.SILENCE:
                await self._reader.read(1)
            case Fault.RESET:
                self._writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            case Fault.SLOW:
                for byte in self._unmodified():
                    await self._send(bytes([byte]))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            if not await self._reader.read(1):
                                return False
            case fault if fault in _WHOLE_REPLIES:
                return await self._send(_WHOLE_REPLIES[fault])
            case _:
                return await self._give_back(request, spool)
        return False

    async def _give_back(self, request: Request, spool: IO[bytes]) -> bool:
        fault = self._fake.fault
        await self._send(_OK + _WITH_BODY % len(self._response) + self._response)
        if fault is Fault.OTHER_BODY:
            spool.seek(request.size // 2)
            spool.write(b"?")
            spool.flush()
        await self._echo(spool, 0, request.size // 2)
        if fault is Fault.HALF_BODY:
            return await self._send(b"ff\r\nabc")
        if fault is not Fault.SHORT_BODY:
            await self._echo(spool, request.size // 2, request.size)
        if fault is Fault.LONG_BODY:
            await self._send(b"1\r\n!\r\n")
        return await self._send(b"0\r\n\r\n", stay=True)


class _Region:
    """What a descriptor holds, read at any place without moving its position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)
