"""One process of several: started, listened to, told what to do.

Rules of this file: a child is started as `avsluice run ... --worker`, which serves in its own process and starts
nobody; it gets a process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone; what it tells is
bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from avsluice.notify import VARIABLES
from inspection.metrics_server import WORKER

logger = logging.getLogger(__name__)

_LONGEST_LINE = 4096
_numbers = itertools.count()
_ROOT = str(Path(__file__).resolve().parents[1])


class Worker:
    """The process that runs `labels`. `words` follow `avsluice run`."""

    def __init__(self, labels: Sequence[str], words: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.bound: dict[str, list[tuple[str, int]]] = {}  # of those that accept
        self.beat_at = 0.0  # by the loop's clock
        self.settling = False
        self.status: int | None = None  # once it has ended; negative: the signal
        self.number = next(_numbers)  # among its siblings: their metrics have addresses of their own
        self._words = words
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None

    def __repr__(self) -> str:
        state = "accepts" if len(self.bound) == len(self.labels) else "starts"
        return f"Worker({' '.join(self.labels)}, pid {self.pid}, {state if self.status is None else self.status})"

    @property
    def pid(self) -> int:
        """0 before the start."""
        return self._process.pid if self._process else 0

    async def start(self, lock: int, beat: float) -> asyncio.StreamReader:
        """Start it; what it tells comes from the reader. OSError where that cannot be."""
        ours, theirs = socket.socketpair()
        with theirs:
            line = f"{theirs.fileno()},{lock},{beat:g}"
            self._process = await asyncio.create_subprocess_exec(
                *self._command(line),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lock),
                env=_environment() | {WORKER: str(self.number)},
                process_group=0,
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        self.beat_at = asyncio.get_running_loop().time()
        return reader

    def _command(self, line: str) -> list[str]:
        program = [sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "avsluice", "run"]
        return [*program, *self._words, "--worker", line]

    async def follow(self, reader: asyncio.StreamReader, hear: Callable[[Worker, list[str]], None]) -> None:
        """Hand on what it tells, until it has ended. Its processes may hold the line open longer than it lives."""
        if self._process is None:
            return
        listening = asyncio.get_running_loop().create_task(self._listen(reader, hear))
        self.status = await self._process.wait()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader, hear: Callable[[Worker, list[str]], None]) -> None:
        try:
            while line := await reader.readline():
                if words := line.decode("utf-8", "replace").split():
                    hear(self, words)
        except ValueError as why:  # a line without end, a port that is none
            logger.error("%s (process %d) tells what nobody understands: %s", ", ".join(self.labels), self.pid, why)
            self.kill()

    def order(self, word: str) -> None:
        """Tell it `drain`, `cut` or `reload`; one that has ended hears nothing."""
        if self.status is None and self._writer is not None and not self._writer.is_closing():
            self._writer.write(word.encode() + b"\n")

    def kill(self) -> None:
        """For one that does not end."""
        if self.status is None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Ours, without what systemd says to us alone, and with the folder that we were found in, installed or not."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if _ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        paths = [_ROOT, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
