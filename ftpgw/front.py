"""The client's side: aioftp's server as an engine, with our own commands.

Rules of this file: aioftp accepts, runs a task a line and ends what is left of a session; lines are read and replies
written by the session; nothing of aioftp's file server is reachable.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aioftp
from aioftp.common import Connection

from ftpgw.commands import answer
from ftpgw.session import Session
from ftpgw.wire import ENCODING, LINE, Command, make_reply
from policy.facts import SessionFacts

if TYPE_CHECKING:
    from ftpgw.hosted import FtpHosted

logger = logging.getLogger(__name__)


class _OurCommands(dict[str, Any]):
    """Every command, known or not, is ours to answer."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    def get(self, verb: str, default: object = None) -> Any:  # noqa: ANN401 - aioftp's own table is as wide
        return partial(self._front.carry_out, verb)


class Front(aioftp.Server):
    """Accepts for one `FtpHosted` on one socket; `sessions` are those under way."""

    def __init__(self, host: FtpHosted, clients: Counter[str]) -> None:
        implicit = host.section.tls.mode == "implicit"
        super().__init__(encoding=ENCODING, ssl=host.client_context if implicit else None)
        self._host = host
        self._clients = clients
        self._sessions: dict[asyncio.StreamReader, Session] = {}
        self.commands_mapping = _OurCommands(self)

    @property
    def sessions(self) -> list[Session]:
        """Those under way."""
        return list(self._sessions.values())

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket, which is ours from now on."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        arguments: dict[str, Any] = {"sock": sock, "limit": LINE, "backlog": 1024}
        if self.ssl is not None:
            arguments["ssl_handshake_timeout"] = self._host.section.limits.header
        await self.start(None, cast(int, None), **arguments)

    def stop_accepting(self) -> None:
        """Sessions go on."""
        self.server.close()

    async def dispatcher(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its greeting until nothing of it is left."""
        try:
            session = Session(self._host, reader, writer)
        except OSError:
            writer.transport.abort()  # it was gone before it came
            return
        self._sessions[reader] = session
        self._clients[session.client] += 1
        try:
            await super().dispatcher(reader, writer)
        finally:
            del self._sessions[reader]
            self._clients[session.client] -= 1
            if not self._clients[session.client]:
                del self._clients[session.client]
            session.close()

    async def greeting(self, connection: Connection, rest: object) -> bool:
        """The first line, or why there is none."""
        session = self._find(connection)
        limits = self._host.section.limits
        facts = SessionFacts(client=session.client, at=session.facts().at)
        if self._clients.total() > limits.connections or self._clients[session.client] > limits.per_client:
            session.reply(make_reply(421, "Too many connections, try again later."))
        elif session.is_last:
            session.reply(make_reply(421, "The gateway is stopping."))
        elif not session.gateway.waits_for_server and (why := session.gateway.refuse_session(facts, session.id)):
            session.reply(make_reply(421, f"Refused: {why}."))
        else:
            session.reply(make_reply(220, "Sluice FTP gateway ready."))
            return True
        await session.flush()
        return False

    async def parse_command(self, stream: aioftp.StreamIO, censor_commands: tuple[str, ...] = ()) -> tuple[str, str]:
        """The next command. At the end False, which aioftp takes for the last command's result."""
        command = await self._sessions[stream.reader].read_command()
        return (command.verb, command.argument) if command else cast("tuple[str, str]", False)

    async def carry_out(self, verb: str, connection: Connection, argument: str) -> bool:
        """One command; False where the session is over."""
        return await answer(self._find(connection), Command(verb, argument))

    def _find(self, connection: Connection) -> Session:
        return self._sessions[connection.command_connection.reader]
