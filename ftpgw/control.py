"""The control connection to a server: aioftp's client, with our own reading of replies.

Rules of this file: commands go out one at a time and each reply owed is read, also after a transfer was broken off; TLS
that was asked for is there before a name is sent, or there is no session; what the server does wrong is an
UpstreamError.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import aioftp
from aioftp.common import Code

from ftpgw.endpoints import plain_ip
from ftpgw.failures import UpstreamError
from ftpgw.wire import ENCODING, Reply, ReplyReader, encode
from policy.model.gateway import ServerTls

_LINE = 64 * 1024  # the longest line of a reply, bytes


class _Reader(asyncio.StreamReader):
    """Tells, once, that nothing more will come."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(limit=_LINE, loop=asyncio.get_running_loop())
        self._on_end: Callable[[], None] | None = on_end

    def feed_eof(self) -> None:
        super().feed_eof()
        self._tell()

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)  # type: ignore[arg-type]  # typeshed is narrower than asyncio's own callers
        self._tell()

    def _tell(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


@contextmanager
def as_upstream_error(what: str) -> Iterator[None]:
    """What goes wrong inside is an UpstreamError."""
    try:
        yield
    except UpstreamError:
        raise
    except TimeoutError as error:
        raise UpstreamError(f"{what}: no answer in time") from error
    except (OSError, ValueError, EOFError, ssl.SSLError) as error:
        raise UpstreamError(f"{what}: {error or type(error).__name__}") from error


class Control(aioftp.Client):
    """One session with a server; `stall` is the longest wait for anything, seconds. `name` is what a certificate has
    to show."""

    def __init__(self, name: str, tls: ServerTls, context: ssl.SSLContext | None, stall: float) -> None:
        super().__init__(encoding=ENCODING, ssl=context if tls.mode == "implicit" else None)
        self._name = name
        self._tls, self._context = tls, context
        self._stall = stall
        self._replies = ReplyReader()
        self._owed = 0
        self._type = ""  # not known
        self._restarts = False  # REST was sent, and it may still hold
        self._no_epsv = False
        self._features: Reply | None = None
        self.is_over = False  # the server has hung up, or we have
        self.on_end: Callable[[], None] | None = None

    # --- control connection

    async def _open_connection(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = _Reader(self._end)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        name = self._name if self.ssl else None
        transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=self.ssl, server_hostname=name)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _end(self) -> None:
        self.is_over = True
        if self.on_end is not None:
            self.on_end()

    def take_last_words(self) -> Reply | None:
        """A reply that came unasked before the end."""
        replies = ReplyReader()
        try:
            for line in bytes(getattr(self.stream.reader, "_buffer", b"")).splitlines(keepends=True):
                if line.endswith(b"\n") and (reply := replies.feed(line)) is not None:
                    return reply
        except ValueError:
            pass  # it is no reply
        return None

    async def open(self, host: str, port: int) -> Reply:
        """Connect, with TLS where the policy says so; the greeting, which may be a refusal. Raises UpstreamError."""
        with as_upstream_error("it cannot be reached"):
            async with asyncio.timeout(self._stall):
                await aioftp.BaseClient.connect(self, host, port)  # the client's own reads the greeting itself
            sock = self.stream.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._owed = 1
        greeting = await self.read_final()
        if greeting.kind == 2 and self._tls.mode == "starttls":
            await self._start_tls()
        if greeting.kind == 2 and self._tls.mode != "none":
            for line in ("PBSZ 0", "PROT P"):
                if (reply := await self.ask(line)).kind != 2:
                    raise UpstreamError(f"it refuses {line}: {reply}")
        return greeting

    async def _start_tls(self) -> None:
        reply = await self.ask("AUTH TLS")
        if reply.code != 234:
            raise UpstreamError(f"it refuses TLS: {reply}")
        if self._has_unread():
            raise UpstreamError("it sent something between AUTH and TLS")
        context = cast(ssl.SSLContext, self._context)
        with as_upstream_error("TLS failed"):
            async with asyncio.timeout(self._stall):
                await self.stream.writer.start_tls(context, server_hostname=self._name)

    def _has_unread(self) -> bool:
        return bool(getattr(self.stream.reader, "_buffer", b""))

    @property
    def _ssl_object(self) -> ssl.SSLObject | None:
        return cast("ssl.SSLObject | None", self.stream.writer.get_extra_info("ssl_object"))

    @property
    def _peer(self) -> tuple[str, int]:
        address = self.stream.writer.get_extra_info("peername")
        return plain_ip(address[0]), address[1]

    @property
    def _local(self) -> str:
        return plain_ip(self.stream.writer.get_extra_info("sockname")[0])

    @property
    def address(self) -> str:
        """The peer, for records."""
        host, port = self._peer
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def send(self, line: str) -> None:
        """One command, whose reply is owed from now on."""
        if any(c in line for c in "\r\n\0"):
            raise ValueError("a command may not hold CR, LF or NUL")
        with as_upstream_error("the control connection broke"):
            self.stream.writer.write(encode(line) + b"\r\n")
            self._owed += 1
            async with asyncio.timeout(self._stall):
                await self.stream.writer.drain()

    async def read_reply(self, patience: float | None = None) -> Reply:
        """The next reply, a preliminary one too. Raises UpstreamError."""
        with as_upstream_error("the server"):
            async with asyncio.timeout(patience or self._stall):
                while True:
                    raw = await self.stream.reader.readline()
                    if not raw.endswith(b"\n"):
                        raise UpstreamError("the server closed the connection")
                    if (reply := self._replies.feed(raw)) is not None:
                        break
        if reply.kind != 1:
            self._owed -= 1
        return reply

    async def parse_response(self) -> tuple[Code, list[str]]:
        """aioftp's own commands read replies as we do."""
        reply = await self.read_reply()
        return Code(str(reply.code)), [line[3:] for line in reply.lines]

    async def read_final(self, patience: float | None = None) -> Reply:
        """The next reply that is not preliminary."""
        while (reply := await self.read_reply(patience)).kind == 1:
            pass
        return reply

    async def ask(self, line: str) -> Reply:
        """One command and its reply."""
        if line.startswith(("USER ", "PASS ", "ACCT ")):
            self._type = ""  # a login begins anew
        await self.send(line)
        return await self.read_final()

    async def settle(self, patience: float = 5.0) -> None:
        """Read what is still owed after a transfer was broken off; where that takes too long the session is over."""
        try:
            while self._owed > 0:
                await self.read_final(patience)
        except UpstreamError:
            self.close()
            raise

    def close(self) -> None:
        """End the session at once. May be called twice."""
        self.is_over, self.on_end = True, None
        if self._stream is not None:
            self._stream.writer.transport.abort()
