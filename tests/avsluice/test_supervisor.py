"""The parent of several processes, with small programs as its workers."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from avsluice import supervisor
from avsluice.notify import Notifier
from avsluice.supervisor import Supervisor
from avsluice.worker import Worker

BEGIN = """
import os, socket, sys
line = socket.socket(fileno=int(sys.argv[1].split(",")[0]))
def ready():
    line.send(b"ready " + sys.argv[2].encode() + b" 127.0.0.1 80\\n")
def wait(*words):
    heard = b""
    while not any(word in heard for word in words):
        if not (got := line.recv(100)):
            break
        heard += got
"""
OBEDIENT = "ready(); wait(b'drain\\n', b'cut\\n')"


class Small(Worker):
    """Runs a program of the test's instead of a gateway."""

    def __init__(self, label: str, program: str) -> None:
        super().__init__([label], [])
        self._program = program

    def _command(self, line: str) -> list[str]:
        return [sys.executable, "-c", BEGIN + self._program, line, self.labels[0]]


class Signalling(Notifier):
    """Once all accept, this process gets a signal."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__({})
        self._number = number
        self.told: list[str] = []

    def ready(self, status: str) -> None:
        self.told.append("ready")
        if self.told == ["ready"]:
            os.kill(os.getpid(), self._number)

    def reloading(self) -> None:
        self.told.append("reloading")

    def stopping(self) -> None:
        self.told.append("stopping")


async def supervise(
    *programs: str, number: signal.Signals = signal.SIGTERM, patience: float = 5
) -> tuple[int, list[Worker], list[str]]:
    """Exit status, the workers, and what systemd would have heard."""
    workers: list[Worker] = [Small(f"http-proxy.{n}", program) for n, program in enumerate(programs)]
    notifier = Signalling(number)
    return await Supervisor(workers, patience, notifier).run(), workers, notifier.told


async def test_all_take_leave(capsys: pytest.CaptureFixture[str]) -> None:
    """Told once each that they accept, and then to drain; 0."""
    drained = "ready(); wait(b'drain\\n')"
    status, workers, told = await supervise(drained, drained)
    assert (status, [worker.status for worker in workers]) == (0, [0, 0])
    assert told == ["ready", "stopping"]
    assert sorted(capsys.readouterr().err.split("\n")[:2]) == [f"ready http-proxy.{n} 127.0.0.1:80" for n in (0, 1)]


async def test_a_reload_has_ended_once_it_has_in_all() -> None:
    """Not before; a worker that dies in it ends all."""
    settles = "ready(); wait(b'reload\\n'); line.send(b'settled\\n'); wait(b'drain\\n', b'cut\\n')"
    dies = "ready(); wait(b'reload\\n'); line.send(b'settled\\n'); sys.exit(4)"
    status, _, told = await supervise(settles, dies, number=signal.SIGHUP)
    assert status == 1
    assert told[:2] == ["ready", "reloading"]
    assert told[-1] == "stopping"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("sys.exit(3)", "http-proxy.1 (process {pid}) ended unasked, with status 3: all end"),
        ("sys.exit(0)", "http-proxy.1 (process {pid}) ended unasked, with status 0: all end"),
        ("os.kill(os.getpid(), 9)", "http-proxy.1 (process {pid}) ended unasked, by SIGKILL: all end"),
        ("line.send(b'x' * 100_000); wait()", "http-proxy.1 (process {pid}) tells what nobody understands"),
        ("line.send(b'ready http-proxy.1 a b\\n'); wait()", "(process {pid}) tells what nobody understands"),
    ],
)
async def test_one_that_ends_unasked_ends_all(end: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Told by name; the others take leave; 1."""
    status, workers, _ = await supervise(OBEDIENT, f"ready(); wait(b'reload\\n'); {end}", number=signal.SIGHUP)
    assert (status, workers[0].status) == (1, 0)
    assert words.format(pid=workers[1].pid) in caplog.text


async def test_one_that_does_not_start_ends_all(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody runs, and nobody is said to be ready; 2."""
    status, workers, told = await supervise("wait(b'cut\\n')", "sys.exit(2)")
    assert (status, [worker.status for worker in workers]) == (2, [0, 2])
    assert "did not start, with status 2: all end" in caplog.text
    assert told == ["stopping"]


async def test_one_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After patience and grace; 1."""
    monkeypatch.setattr(supervisor, "GRACE", 0.1)
    status, workers, _ = await supervise(OBEDIENT, "ready(); wait()", patience=0.1)
    assert (status, [worker.status for worker in workers]) == (1, [0, -signal.SIGKILL])
    assert "did not end in order, by SIGKILL" in caplog.text
