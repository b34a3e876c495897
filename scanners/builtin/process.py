"""One worker process and the socket to it.

Rules of this file: one question at a time; every failure is `Lost`, and whoever meets it awaits `end`; time is bounded
by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from asyncio.subprocess import DEVNULL, Process

from scanners.builtin.launch import COMMAND
from scanners.builtin.replies import LIMIT, READY, decode
from scanners.builtin.service import KNOW, ORDER, SCAN, STOP
from scanners.engine import Answer, Body


class Lost(Exception):
    """A worker cannot be used any more; the argument says why."""


class Worker:
    """One process and the socket to it."""

    def __init__(self, process: Process, sock: socket.socket) -> None:
        self._process = process
        self._sock = sock
        self._heard = b""

    def __repr__(self) -> str:
        state = "running" if self._process.returncode is None else f"ended {self._process.returncode}"
        return f"<Worker {self.pid} {state}>"

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @classmethod
    async def start(cls) -> Worker:
        """A process that knows nothing yet. OSError where none can be had."""
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *COMMAND, stdin=theirs.fileno(), stdout=DEVNULL, process_group=0
                )
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    async def teach(self, knowledge: Body) -> None:
        """What it is to look for. Lost where it does not understand."""
        descriptor = knowledge.descriptor()
        try:
            self._send(KNOW, knowledge.size, descriptor)
        finally:
            os.close(descriptor)
        if (said := await self._hear()) != READY:
            raise Lost(f"did not start but said {said[:60]!r}")

    async def scan(self, descriptor: int, size: int) -> Answer:
        """Its word on one object. Lost where there is none."""
        self._send(SCAN, size, descriptor)
        if (answer := decode(line := await self._hear())) is None:
            raise Lost(f"said {line[:60]!r}, which is no reply")
        return answer

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        with contextlib.suppress(Lost):
            self._send(STOP, 0)

    def is_idle(self) -> bool:
        """Whether it lives, and says nothing unasked."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._heard
        except OSError:
            return False
        return False

    def kill(self) -> None:
        """At once. `end` is still to be awaited."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def end(self) -> None:
        """Kills, and returns when the process is gone."""
        self.kill()
        await self._process.wait()
        self._sock.close()

    def _send(self, what: bytes, size: int, descriptor: int | None = None) -> None:
        # Nine bytes, and one question at a time: there is always room.
        order = ORDER.pack(what, size)
        try:
            sent = self._sock.send(order) if descriptor is None else socket.send_fds(self._sock, [order], [descriptor])
        except OSError as why:
            raise Lost(f"takes no orders: {why}") from why
        if sent != ORDER.size:
            raise Lost("takes no orders")

    async def _hear(self) -> bytes:
        """A whole line."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._heard:
            if len(self._heard) > LIMIT:
                raise Lost("said more than a reply")
            try:
                part = await loop.sock_recv(self._sock, LIMIT)
            except ConnectionError:
                part = b""  # it died with an order unread
            if not part:
                raise Lost("ended")
            self._heard += part
        line, newline, self._heard = self._heard.partition(b"\n")
        return line + newline
