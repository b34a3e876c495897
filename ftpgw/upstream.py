"""A session with a server: what is remembered of it, and its data connections.

Rules of this file: data connections go to the control connection's peer and nowhere else, whatever the server names, or
come from there; what the server does wrong is an UpstreamError.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Literal

from ftpgw.control import Control, as_upstream_error
from ftpgw.data_stream import DataStream, open_stream
from ftpgw.endpoints import format_eprt, format_port, is_ip4, parse_epsv_reply, parse_pasv_reply, plain_ip
from ftpgw.failures import UpstreamError
from ftpgw.tls import resume
from ftpgw.wire import Reply
from policy.model.gateway import ServerTls

type DataType = Literal["auto", "passive", "active"]


class Upstream(Control):
    """`data_type`: how data connections are made."""

    def __init__(
        self, name: str, tls: ServerTls, context: ssl.SSLContext | None, stall: float, data_type: DataType = "auto"
    ) -> None:
        super().__init__(name, tls, context, stall)
        self._data_type: DataType = data_type
        self._type = ""
        self._no_epsv = False
        self._features: Reply | None = None

    # --- what is remembered of it

    async def set_type(self, kind: str) -> None:
        """TYPE I or TYPE A, sent only where it changes something."""
        if self._type != kind:
            self._type = ""  # who is interrupted here does not know whether it holds
            if (reply := await self.ask(f"TYPE {kind}")).kind != 2:
                raise UpstreamError(f"it refuses TYPE {kind}: {reply}")
            self._type = kind

    async def ask_features(self) -> Reply:
        """Its reply to FEAT, asked once."""
        if self._features is None:
            self._features = await self.ask("FEAT")
        return self._features

    def forget_features(self) -> None:
        """They are asked for anew."""
        self._features = None

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

    async def open_data(
        self, command: str, offset: int = 0, demand: Callable[[], None] | None = None
    ) -> tuple[DataStream | None, Reply]:
        """Send a command that moves data: the connection and the preliminary reply, or None and the final reply that
        refuses (or that had nothing to send). The caller closes the stream and reads the final reply. `demand` is
        called right before the command and may raise."""
        road = await self._lay_road()
        if isinstance(road, Reply):
            return None, road
        sock = road
        try:
            if (refusal := await self._restart(offset)) is not None:
                sock.close()
                return None, refusal
            if demand is not None:
                demand()
            await self.send(command)
            reply = await self.read_reply()
            if reply.kind != 1:
                sock.close()
                return None, reply
            self._restarts = False
            with as_upstream_error("the data connection"):
                sock = await self._meet(sock)
        except BaseException:
            sock.close()
            raise
        with as_upstream_error("TLS on the data connection"):
            control = self._ssl_object
            tls = resume(control) if control is not None else None
            return await open_stream(sock, self._stall, tls=tls, server_side=False, name=self._name), reply

    async def _restart(self, offset: int) -> Reply | None:
        """REST, where it is needed; the reply that refuses it. An earlier one whose transfer never began is taken back:
        else the next file would be written to where nobody looked at it."""
        if not offset and not self._restarts:
            return None
        self._restarts = True
        reply = await self.ask(f"REST {offset}")
        return None if reply.kind == 3 else reply

    async def _lay_road(self) -> socket.socket | Reply:
        """A connected socket, a listening one in active mode, or the reply that refuses both."""
        reply: Reply | None = None
        if self._data_type != "active":
            port, reply = await self._ask_for_port()
            if port is not None:
                with as_upstream_error("the data connection"):
                    return await self._connect_data(port)
        return await self._listen_for_data() if self._data_type != "passive" or reply is None else reply

    async def _ask_for_port(self) -> tuple[int | None, Reply]:
        with as_upstream_error("the server"):
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
