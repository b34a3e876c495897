"""An FTP server that goes wrong as it is told: for faults only, real servers serve everything else.

Rules of this file: each command has its ordinary answer, which a test replaces by a script; the server records every
line it got, verbatim, and never decides that a test has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

type Script = Callable[[Conversation, str], Awaitable[None]]
"""What a command does: the session, and the command's argument."""


class FakeFtpServer:
    """Serves `files`. `scripts` replace what a command does, by its name in capitals. Start and close in one loop."""

    def __init__(self) -> None:
        self.port = 0
        self.banner = b"220 fake\r\n"
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.scripts: dict[str, Script] = {}
        self.lines: list[bytes] = []
        self.sessions = 0
        self.open = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every session."""
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Forget scripts, files and what was recorded."""
        self.banner = b"220 fake\r\n"
        for kept in (self.files, self.stored, self.scripts, self.lines):
            kept.clear()

    def commands(self, name: str) -> list[bytes]:
        """The recorded lines with that command."""
        return [line for line in tuple(self.lines) if line.upper().startswith(name.encode())]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        self.open += 1
        conversation = Conversation(self, reader, writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await conversation.run()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            await conversation.close()


class Conversation:
    """One session."""

    def __init__(self, server: FakeFtpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self._listeners: list[asyncio.Server] = []
        self._peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._data: list[asyncio.StreamWriter] = []

    async def run(self) -> None:
        """Until the peer goes."""
        self.writer.write(self.server.banner)
        while line := await self.reader.readline():
            self.server.lines.append(line)
            name, _, argument = line.decode("utf-8", "surrogateescape").rstrip("\r\n").partition(" ")
            script = self.server.scripts.get(name.upper())
            if script is not None:
                await script(self, argument)
            else:
                await self._answer(name.upper(), argument)

    async def _answer(self, name: str, argument: str) -> None:
        ordinary: dict[str, Script] = {
            "EPSV": lambda s, _a: s.say_passive(extended=True),
            "PASV": lambda s, _a: s.say_passive(extended=False),
            "RETR": lambda s, a: s.send_file(a),
            "STOR": lambda s, a: s.take_file(a),
            "SIZE": lambda s, a: s.say_size(a),
        }
        script = ordinary.get(name)
        if script is not None:
            await script(self, argument)
        else:
            self.say(_REPLIES.get(name, "502 not here"))

    def say(self, text: str) -> None:
        """One line."""
        self.writer.write(text.encode() + b"\r\n")

    async def say_passive(self, *, extended: bool, host: str = "127,0,0,1") -> None:
        """Listen, and tell where."""
        port = await self.listen()
        self.say(
            f"229 go (|||{port}|)" if extended else f"227 Entering Passive Mode ({host},{port >> 8},{port & 255})."
        )

    async def listen(self) -> int:
        """Listen for a data connection; its port."""
        listener = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._data.append(writer)
        self._peers.put_nowait((reader, writer))

    async def data(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The data connection, waited for."""
        return await self._peers.get()

    async def say_size(self, name: str) -> None:
        """SIZE."""
        known = self.server.files.get(name.rpartition("/")[2])
        self.say("550 no such file" if known is None else f"213 {len(known)}")

    async def send_file(self, name: str) -> None:
        """RETR as it should be."""
        known = self.server.files.get(name.rpartition("/")[2])
        if known is None:
            self.say("550 no such file: ask for another")
            return
        self.say("150 here it comes")
        _reader, writer = await self.data()
        writer.write(known)
        await writer.drain()
        writer.close()
        self.say("226 done")

    async def take_file(self, name: str) -> None:
        """STOR as it should be."""
        self.say("150 go on")
        reader, writer = await self.data()
        self.server.stored[name.rpartition("/")[2]] = await reader.read(-1)
        writer.close()
        self.say("226 got it")

    def reset_data(self, writer: asyncio.StreamWriter) -> None:
        """RST on a data connection, now."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def close(self) -> None:
        """Everything of this session."""
        for listener in self._listeners:
            listener.close()
        for writer in (*self._data, self.writer):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


_REPLIES = {
    "USER": "331 and the password",
    "PASS": "230 welcome",
    "TYPE": "200 so be it",
    "PWD": '257 "/" is here',
    "CWD": "250 there",
    "NOOP": "200 nothing",
    "SYST": "215 UNIX Type: L8",
    "FEAT": "211-Features:\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n EPSV\r\n211 End",
    "REST": "350 from there",
    "MDTM": "213 20260101000000",
    "ABOR": "226 nothing to abort",
    "QUIT": "221 bye",
    "STRU": "200 F",
    "MODE": "200 S",
    "OPTS": "200 well",
}
