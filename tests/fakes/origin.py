"""An origin server under a test's control: HTTP/1.0, HTTP/1.1, TLS, HTTP/2 and WebSocket echo.

Rules of this file: it says exactly what the script says, however wrong; it records every request as it
arrived; it never decides that a test has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable

from tests.fakes import origin_h2, origin_websocket
from tests.fakes.origin_script import Break, Exchange, Fill, Framing, Handler, Reply, Request, Wait, play_fill

MAX_HEAD = 256 * 1024
NOT_FOUND = Reply(status=404, reason="Not Found", steps=(b"no such script\n",))


class Origin:
    """Serves scripted replies by path on a loopback port. Start and close it in one event loop."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.port = 0
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._routes: dict[str, Handler] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=self.tls, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection at once."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def serve(self, path: str, reply: Reply | Handler) -> str:
        """From now on answer that path (its query left aside) with the reply; returns the URL."""
        self._routes[path] = reply if callable(reply) else lambda _request: reply
        return self.url(path)

    def url(self, path: str) -> str:
        """The absolute URL of a path; `localhost` under TLS, because that is the certificate's name."""
        return f"https://localhost:{self.port}{path}" if self.tls else f"http://127.0.0.1:{self.port}{path}"

    def asked(self, path: str) -> list[Exchange]:
        """The exchanges about a path so far, oldest first."""
        return [e for e in tuple(self.exchanges) if e.request.target.split("?")[0] == path]

    def begin(self, request: Request) -> Exchange:
        """Record that a request has begun to arrive."""
        exchange = Exchange(request)
        self.exchanges.append(exchange)
        return exchange

    def answer(self, request: Request) -> Reply:
        """The scripted reply to a request that has arrived."""
        handler = self._routes.get(request.target.split("?")[0])
        return handler(request) if handler else NOT_FOUND

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                if _alpn(writer) == "h2":
                    await origin_h2.Conversation(self, reader, writer).run()
                else:
                    while await self._exchange(reader, writer):
                        pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; True where another may follow on the connection."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = parse_head(raw)
        exchange = self.begin(request)
        if (request.header("Upgrade") or "").lower() == "websocket" and "/echo" in request.target:
            await origin_websocket.echo(raw, reader, writer, exchange)
            return False
        if (request.header("Expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_body(request, reader)
        return await play(self.answer(request), exchange, reader, writer)


def _alpn(writer: asyncio.StreamWriter) -> str | None:
    secured = writer.get_extra_info("ssl_object")
    return secured.selected_alpn_protocol() if secured else None


def parse_head(raw: bytes) -> Request:
    """The request line and headers of an HTTP/1 request, latin-1, nothing judged."""
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, version = first.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Request(method, target, version, headers)


async def read_body(request: Request, reader: asyncio.StreamReader) -> None:
    """Read the body into `request.body` as it arrives; IncompleteReadError where the peer cuts it."""
    if (request.header("Transfer-Encoding") or "").lower() == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await _read_into(request, reader, size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    else:
        await _read_into(request, reader, int(request.header("Content-Length") or 0))
    request.complete = True


async def _read_into(request: Request, reader: asyncio.StreamReader, size: int) -> None:
    while size:
        data = await reader.read(min(size, 65536))
        if not data:
            raise asyncio.IncompleteReadError(b"", size)
        request.body += data
        size -= len(data)


def build_head(reply: Reply) -> bytes:
    """The status line and headers of a reply, as they go on the wire."""
    if reply.head is not None:
        return reply.head
    headers = [*reply.headers]
    if reply.framing is Framing.LENGTH:
        headers.append(("Content-Length", str(reply.size if reply.length is None else reply.length)))
    elif reply.framing is Framing.CHUNKED:
        headers.append(("Transfer-Encoding", "chunked"))
    lines = [f"{reply.version} {reply.status} {reply.reason}", *(f"{n}: {v}" for n, v in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def play(reply: Reply, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send a reply step by step; True where the connection can go on."""
    writer.write(build_head(reply))
    if exchange.request.method == "HEAD" or reply.framing is Framing.NONE:
        exchange.ended = "whole"
        return True
    frame = _chunk if reply.framing is Framing.CHUNKED else bytes
    for step in reply.steps:
        match step:
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Break():
                await _break_off(step, exchange, reader, writer)
                return False
            case _:
                await _send(step, frame, exchange, writer)
    if reply.framing is Framing.CHUNKED:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    exchange.ended = "whole"
    return reply.framing is not Framing.CLOSE and reply.version != "HTTP/1.0"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _send(
    step: bytes | Fill, frame: Callable[[bytes], bytes], exchange: Exchange, writer: asyncio.StreamWriter
) -> None:
    for piece in play_fill(step.size) if isinstance(step, Fill) else (step,):
        so_far = exchange.sent[-1][1] if exchange.sent else 0
        # Noted before the write: the proxy cannot have seen the piece earlier than this.
        exchange.sent.append((time.monotonic(), so_far + len(piece)))
        writer.write(frame(piece))
        await writer.drain()


async def _break_off(
    how: Break, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    exchange.ended = how.value
    if how is Break.STALL:
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        exchange.ended = "gone"
        return
    await writer.drain()
    if how is Break.RESET:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
