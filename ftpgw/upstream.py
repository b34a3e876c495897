"""The server's side: aioftp's client, with our own reading of replies and our own data connections.

Rules of this file: commands go out one at a time and each reply owed is read, also after a transfer was broken off;
data connections go to the control connection's peer and nowhere else, whatever the server names; TLS that was asked
for is there before a name is sent, or there is no session; what the server does wrong is an UpstreamError.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import aioftp
from aioftp.common import Code

from ftpgw.data_stream import DataStream, open_stream
from ftpgw.endpoints import format_eprt, format_port, is_ip4, parse_epsv_reply, parse_pasv_reply, plain_ip
from ftpgw.tls import resume
from ftpgw.wire import ENCODING, Reply, ReplyReader, encode
from policy.model.gateway import ServerTls

_LINE = 64 * 1024  # the longest line of a reply, bytes

type DataType = Literal["auto", "passive", "active"]


class UpstreamError(ConnectionError):
    """The server is not there, does not answer, or answers nonsense (remote fault, temporary). No reply was had."""


@contextmanager
def _as_upstream_error(what: str) -> Iterator[None]:
    try:
        yield
    except UpstreamError:
        raise
    except TimeoutError as error:
        raise UpstreamError(f"{what}: no answer in time") from error
    except (OSError, ValueError, EOFError, ssl.SSLError) as error:
        raise UpstreamError(f"{what}: {error or type(error).__name__}") from error


class Upstream(aioftp.Client):
    """One session with a server; `stall` is the longest wait for anything, seconds. `name` is what a certificate has
    to show."""

    def __init__(
        self, name: str, tls: ServerTls, context: ssl.SSLContext | None, stall: float, data_type: DataType = "auto"
    ) -> None:
        super().__init__(encoding=ENCODING, ssl=context if tls.mode == "implicit" else None)
        self._name = name
        self._tls, self._context = tls, context
        self._stall = stall
        self._data_type: DataType = data_type
        self._replies = ReplyReader()
        self._owed = 0
        self._type = ""
        self._no_epsv = False
        self._features: Reply | None = None

    # --- control connection

    async def _open_connection(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            host, port, limit=_LINE, ssl=self.ssl, server_hostname=self._name if self.ssl else None
        )

    async def open(self, host: str, port: int) -> Reply:
        """Connect, with TLS where the policy says so; the greeting, which may be a refusal. Raises UpstreamError."""
        with _as_upstream_error("it cannot be reached"):
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
        with _as_upstream_error("TLS failed"):
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
        with _as_upstream_error("the control connection broke"):
            self.stream.writer.write(encode(line) + b"\r\n")
            self._owed += 1
            async with asyncio.timeout(self._stall):
                await self.stream.writer.drain()

    async def read_reply(self, patience: float | None = None) -> Reply:
        """The next reply, a preliminary one too. Raises UpstreamError."""
        with _as_upstream_error("the server"):
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
        if self._stream is not None:
            self._stream.writer.transport.abort()

    # --- what is remembered of it

    async def set_type(self, kind: str) -> None:
        """TYPE I or TYPE A, sent only where it changes something."""
        if self._type != kind:
            if (reply := await self.ask(f"TYPE {kind}")).kind != 2:
                raise UpstreamError(f"it refuses TYPE {kind}: {reply}")
            self._type = kind

    async def ask_features(self) -> Reply:
        """Its reply to FEAT, asked once."""
        if self._features is None:
            self._features = await self.ask("FEAT")
        return self._features

    async def ask_size(self, path: str) -> int | None:
        """SIZE, in bytes as in TYPE I; None where it does not tell."""
        await self.set_type("I")
        reply = await self.ask(f"SIZE {path}")
        text = reply.message.strip()
        return int(text) if reply.code == 213 and text.isascii() and text.isdigit() and len(text) < 20 else None

    async def ask_time(self, path: str) -> str | None:
        """MDTM, as it is told; None where it is not."""
        reply = await self.ask(f"MDTM {path}")
        return reply.message.strip() if reply.code == 213 else None

    # --- data connections

    async def open_data(self, command: str, offset: int = 0) -> tuple[DataStream | None, Reply]:
        """Send a command that moves data: the connection and the preliminary reply, or None and the final reply that
        refuses (or that had nothing to send). The caller closes the stream and reads the final reply."""
        road = await self._lay_road()
        if isinstance(road, Reply):
            return None, road
        sock = road
        try:
            if offset and (reply := await self.ask(f"REST {offset}")).kind != 3:
                sock.close()
                return None, reply
            await self.send(command)
            reply = await self.read_reply()
            if reply.kind != 1:
                sock.close()
                return None, reply
            with _as_upstream_error("the data connection"):
                sock = await self._meet(sock)
        except BaseException:
            sock.close()
            raise
        with _as_upstream_error("TLS on the data connection"):
            control = self._ssl_object
            tls = resume(control) if control is not None else None
            return await open_stream(sock, self._stall, tls=tls, server_side=False, name=self._name), reply

    async def _lay_road(self) -> socket.socket | Reply:
        """A connected socket, a listening one in active mode, or the reply that refuses both."""
        reply: Reply | None = None
        if self._data_type != "active":
            port, reply = await self._ask_for_port()
            if port is not None:
                with _as_upstream_error("the data connection"):
                    return await self._connect_data(port)
        return await self._listen_for_data() if self._data_type != "passive" or reply is None else reply

    async def _ask_for_port(self) -> tuple[int | None, Reply]:
        with _as_upstream_error("the server"):
            if not self._no_epsv:
                reply = await self.ask("EPSV")
                if reply.code == 229:
                    return parse_epsv_reply(reply.message), reply
                self._no_epsv = reply.kind == 5
                if reply.kind != 5 or not is_ip4(self._peer[0]):
                    return None, reply
            reply = await self.ask("PASV")
            return (parse_pasv_reply(reply.message), reply) if reply.code == 227 else (None, reply)

    async def _connect_data(self, port: int) -> socket.socket:
        host = self._peer[0]
        sock = socket.socket(socket.AF_INET if is_ip4(host) else socket.AF_INET6, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(self._stall):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _listen_for_data(self) -> socket.socket | Reply:
        host = self._local
        ip4 = is_ip4(host)
        sock = socket.socket(socket.AF_INET if ip4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind((host, 0))
            sock.listen(1)
            port = int(sock.getsockname()[1])
            reply = await self.ask(f"PORT {format_port(host, port)}" if ip4 else f"EPRT {format_eprt(host, port)}")
        except BaseException:
            sock.close()
            raise
        if reply.kind == 2:
            return sock
        sock.close()
        return reply

    async def _meet(self, sock: socket.socket) -> socket.socket:
        """In active mode the server's connection, which comes from its address alone."""
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return sock
        try:
            async with asyncio.timeout(self._stall):
                while True:
                    met, address = await asyncio.get_running_loop().sock_accept(sock)
                    if plain_ip(address[0]) == self._peer[0]:
                        return met
                    met.close()
        finally:
            sock.close()
