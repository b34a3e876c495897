"""What one client's session is made of: its connection, its login, what it asked for next.

Rules of this file: replies leave in the order in which they are given; nothing is executed here; whoever made a
session closes it, and that closes the server's side and every listener.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
from datetime import datetime
from typing import TYPE_CHECKING

from ftpgw.data_channel import Channel
from ftpgw.data_stream import DataStream, open_stream
from ftpgw.destination import Destination, find_dialled
from ftpgw.endpoints import plain_ip
from ftpgw.upstream import Upstream
from ftpgw.wire import Command, Reply, encode, make_reply, parse_command
from policy.address import Address
from policy.facts import SessionFacts

if TYPE_CHECKING:
    from ftpgw.gateway import FtpGateway
    from ftpgw.hosted import FtpHosted

logger = logging.getLogger(__name__)

_PIPELINED = 64  # commands read ahead


class Session:
    """One control connection. `busy` is held while a command is carried out, first come, first served."""

    def __init__(self, host: FtpHosted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.id = secrets.token_hex(4)
        self.reader, self.writer = reader, writer
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ABOR's urgent byte is part of the line
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # asyncio does so only for sockets that were made with a protocol number, which listening ones are not.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = plain_ip(writer.get_extra_info("peername")[0])
        self.local = plain_ip(writer.get_extra_info("sockname")[0])
        self.dialled: Address | None = find_dialled(sock) if host.section.transparent else None
        self.busy = asyncio.Lock()
        self.work: asyncio.Task[None] | None = None
        self.readable = asyncio.Event()
        self.readable.set()
        self._ahead = asyncio.Semaphore(_PIPELINED)
        self.is_last = False  # nothing is to be begun any more
        self.is_gone = False
        self.secured = writer.get_extra_info("ssl_object") is not None
        self.reset()

    def reset(self) -> None:
        """As after the greeting; TLS stays."""
        self.upstream: Upstream | None = None
        self.destination: Destination | None = None
        self.user: str | None = None
        self.logged_in = False
        self.directory: str | None = None
        self.type = "A"
        self.offset = 0
        self.channel: Channel | None = None
        self.epsv_all = False
        self.protected = self.secured and self.host.section.tls.mode == "implicit"
        self.has_buffer_size = False

    @property
    def gateway(self) -> FtpGateway:
        """The one in force; what begins now ends under it."""
        return self.host.gateway

    @property
    def server(self) -> Upstream:
        """The server's side, once there is a login."""
        if self.upstream is None:
            raise RuntimeError("there is no server before USER")
        return self.upstream

    def facts(self) -> SessionFacts:
        """What the policy may ask of the session now."""
        server = str(self.destination) if self.destination else None
        return SessionFacts(client=self.client, user=self.user, server=server, at=datetime.now().astimezone())

    # --- lines

    async def read_command(self) -> Command | None:
        """The client's next line; None at the end, whoever made it."""
        await self._ahead.acquire()
        await self.readable.wait()
        if self.writer.is_closing():
            return None  # whom we have left: nothing more of it is carried out
        while True:
            limits = self.host.section.limits
            try:
                async with asyncio.timeout(limits.idle if self.logged_in else limits.header):
                    raw = await self.reader.readline()
                break
            except TimeoutError:
                if self.busy.locked():
                    continue
                self.reply(make_reply(421, "Nothing was heard for too long, goodbye."))
                return None
            except ValueError:
                self.reply(make_reply(500, "The line is too long, goodbye."))
                return None
            except OSError:
                raw = b""
                break
        if not raw.endswith(b"\n"):
            self.is_gone = True
            return None
        command = parse_command(raw)
        logger.debug("%s: %s", self.id, command)
        if command.verb == "AUTH":
            self.readable.clear()  # what follows is TLS
        return command

    def done(self) -> None:
        """A command that was read is carried out."""
        self._ahead.release()

    def reply(self, reply: Reply) -> None:
        """To the client, behind all earlier ones."""
        logger.debug("%s: %s", self.id, reply)
        if not self.writer.is_closing():
            self.writer.write(encode(reply.text))

    def hear_end(self) -> None:
        """The server has hung up. A command that is being carried out finds that out itself."""
        if not self.busy.locked():
            self.follow_server()

    def follow_server(self) -> None:
        """End the session as the server did, with its last words."""
        if not self.is_gone and self.upstream is not None:
            if (last := self.upstream.take_last_words()) is not None:
                self.reply(last)
            self.close()

    async def flush(self) -> None:
        """Wait until the client has taken the replies; one that does not is disconnected."""
        try:
            async with asyncio.timeout(self.host.section.limits.stall):
                await self.writer.drain()
        except (OSError, TimeoutError):
            self.writer.transport.abort()

    # --- data connections

    def set_channel(self, channel: Channel | None) -> None:
        """Where the next data connection comes from; an earlier one is given up."""
        if self.channel is not None:
            self.channel.close()
        self.channel = channel

    def take_channel(self) -> Channel | None:
        """It serves one transfer."""
        channel, self.channel = self.channel, None
        return channel

    def take_offset(self) -> int:
        """REST holds for one transfer."""
        offset, self.offset = self.offset, 0
        return offset

    async def open_data(self, channel: Channel, opening: Reply) -> DataStream:
        """The connection to the client, after the preliminary reply. Raises OSError, TimeoutError."""
        limits = self.host.section.limits
        sock = await channel.connect(min(limits.stall, limits.header))
        self.reply(opening)
        tls: ssl.SSLContext | None = self.host.client_context if self.protected else None
        return await open_stream(sock, limits.stall, tls=tls, server_side=True)

    def close(self) -> None:
        """The session is over. May be called twice."""
        self.is_gone = True
        if self.upstream is not None:
            self.upstream.close()
        self.set_channel(None)
        self.writer.close()
