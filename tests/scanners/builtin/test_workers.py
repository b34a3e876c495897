"""The worker processes: real ones, killed, stopped, abandoned and left behind."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody, SparseBody
from scanners.builtin import process
from scanners.builtin import workers as module
from scanners.builtin.budget import Budget
from scanners.builtin.engine import Builtin
from scanners.builtin.launch import COMMAND
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.builtin.workers import Workers
from scanners.specimens import EICAR, GTUBE
from tests.scanners.packed import PACKINGS, encrypted_zip, zipped

MIB = 1 << 20
ROOT = Path(__file__).parents[3]
NOISE = random.Random(2).randbytes(MIB)  # noqa: S311  (any bytes, but the same ones every time)
KNOWLEDGE = b'{"hashes":{}}\n'
LARGE = SparseBody(MIB, [(1000, EICAR)])
CLEAN = SparseBody(MIB, [])

CORPUS: dict[str, bytes] = {
    "empty": b"",
    "plain": NOISE,
    "eicar": NOISE + EICAR,
    "gtube": GTUBE,
    "encrypted": encrypted_zip(b"secret"),
    "cut": gzip.compress(NOISE)[:-20],
    "bomb": gzip.compress(bytes(300 * MIB), 9),
    **{f"clean {name}": make(NOISE) for name, make in PACKINGS.items()},
    **{f"infected {name}": make(EICAR) for name, make in PACKINGS.items()},
}


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """One process at the most, so that it is known which."""
    made = Workers(KNOWLEDGE, count=1)
    yield made
    await made.close()
    assert made.pids == []


def endless() -> SparseBody:
    """Zeros that take a worker a while: half a second, at the least."""
    return SparseBody(3000 * MIB, [])


def lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def until(what: Callable[[], bool]) -> None:
    """Waits for real processes; the test's own time limit ends it."""
    while not what():  # noqa: ASYNC110  (nobody tells us)
        await asyncio.sleep(0.005)


async def test_eicar_in_a_zip_of_5_mb(workers: Workers) -> None:
    """A virus deep in a large archive is found by a process that is not ours."""
    body = MemoryBody(zipped(NOISE * 5 + EICAR, zipfile.ZIP_STORED))
    answer = await workers.ask(body)
    assert (answer.status, answer.virus) == (Status.FOUND, "Eicar-Test-Signature")
    assert workers.pids != [os.getpid()]


@pytest.mark.parametrize("case", CORPUS)
async def test_a_worker_says_what_we_would_say(case: str) -> None:
    """Status, name and detail are the same in our process and through a worker."""
    here = Walk(Signatures(), Budget()).scan(MemoryBody(CORPUS[case]))
    made = Workers(KNOWLEDGE, count=1)
    assert await made.ask(MemoryBody(CORPUS[case])) == here
    await made.close()


async def test_listed_hashes_reach_the_worker() -> None:
    """A listed digest of a large object is found."""
    engine = Builtin({CLEAN.sha256: "Zeros"})
    assert (await engine.ask(CLEAN)).virus == "Zeros"
    await engine.close()


async def test_a_process_is_started_only_when_needed_and_kept() -> None:
    """Small plain objects start none; large ones share one as long as they come one at a time."""
    engine = Builtin()
    assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
    assert engine.workers.pids == []
    assert (await engine.ask(LARGE)).status is Status.FOUND
    first = engine.workers.pids
    assert (await engine.ask(CLEAN)).status is Status.FREE
    assert engine.workers.pids == first
    assert len(first) == 1
    await engine.close()


async def test_no_more_processes_than_allowed() -> None:
    """Many objects at once share a few processes, and each gets its own answer."""
    made = Workers(KNOWLEDGE, count=2)
    answers = await asyncio.gather(*(made.ask(body) for body in [LARGE, CLEAN] * 10))
    assert [a.status for a in answers] == [Status.FOUND, Status.FREE] * 10
    assert len(made.pids) == 2
    await made.close()


async def test_killed_during_a_check(workers: Workers) -> None:
    """A worker that dies makes its object an error, and the next object has a new worker."""
    await workers.ask(CLEAN)
    (pid,) = workers.pids
    at_rest = len(os.listdir(f"/proc/{pid}/fd"))
    asking = asyncio.get_running_loop().create_task(workers.ask(endless()))
    await until(lambda: len(os.listdir(f"/proc/{pid}/fd")) > at_rest)
    os.kill(pid, signal.SIGKILL)
    answer = await asking
    assert (answer.status, answer.detail) == (Status.ERROR, "the worker process ended")
    assert (await workers.ask(LARGE)).status is Status.FOUND
    assert workers.pids != [pid]


async def test_killed_between_two_checks(workers: Workers) -> None:
    """A worker that dies while it rests costs nobody an error."""
    await workers.ask(CLEAN)
    (pid,) = workers.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not lives(pid))
    assert (await workers.ask(LARGE)).status is Status.FOUND


async def test_a_worker_that_hangs_is_killed() -> None:
    """No answer within the patience is an error; the process goes, and the next object has a new one."""
    made = Workers(KNOWLEDGE, count=1, patience=0.2)
    await made.ask(CLEAN)
    (pid,) = made.pids
    os.kill(pid, signal.SIGSTOP)
    answer = await made.ask(LARGE)
    assert (answer.status, answer.detail) == (Status.ERROR, "the worker process did not answer in time")
    assert not lives(pid)
    assert (await made.ask(LARGE)).status is Status.FOUND
    await made.close()


FALSE_WORKERS = {
    "no reply": ('b\'{"status":"free"}\\n\'', "is no reply"),
    "endless": ("b'x' * 100000", "more than a reply"),
    "a free with a name": ('b\'{"status":"free","virus":"x","detail":""}\\n\'', "is no reply"),
    "nothing": ("b''", "ended"),
}


@pytest.mark.parametrize("case", FALSE_WORKERS)
async def test_garbage_from_a_worker(case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a process says that is no reply, the object is an error and the process goes."""
    says, detail = FALSE_WORKERS[case]
    script = tmp_path / "false.py"
    script.write_text(
        f"import socket\ns = socket.socket(fileno=0)\ns.recv(9)\ns.sendall(b'{{\"ready\":true}}\\n')\n"
        f"s.recv(9)\ns.sendall({says})\n"
    )
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))
    made = Workers(KNOWLEDGE, count=1)
    answer = await made.ask(CLEAN)
    assert answer.status is Status.ERROR
    assert detail in answer.detail
    assert made.pids == []
    await made.close()


@pytest.mark.parametrize("command", [(sys.executable, "-c", "print('hm')"), ("/nonexistent",)])
async def test_a_worker_that_does_not_start(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be had the object is an error, with the cause."""
    monkeypatch.setattr(process, "COMMAND", command)
    made = Workers(KNOWLEDGE, count=1)
    answer = await made.ask(CLEAN)
    assert answer.status is Status.ERROR
    assert "worker process" in answer.detail
    assert made.pids == []
    await made.close()


async def test_a_cancelled_check_gives_its_worker_back(workers: Workers) -> None:
    """Whoever gives up stops the search, and the same process serves the next object."""
    await workers.ask(CLEAN)
    before = workers.pids
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await workers.ask(MemoryBody(gzip.compress(bytes(200 * MIB), 1)))
    began = time.monotonic()
    assert (await workers.ask(LARGE)).status is Status.FOUND
    assert time.monotonic() - began < 1
    assert workers.pids == before


async def test_a_cancelled_check_whose_worker_does_not_listen(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that does not give the object up is killed, and the next object has a new one."""
    monkeypatch.setattr(module, "GRACE", 0.05)
    await workers.ask(CLEAN)
    (pid,) = workers.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await workers.ask(CLEAN)
    assert (await workers.ask(LARGE)).status is Status.FOUND
    assert not lives(pid)


async def test_an_idle_worker_is_ended(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without work goes after a while, and comes back when needed."""
    monkeypatch.setattr(module, "IDLE", 0.02)
    await workers.ask(CLEAN)
    (pid,) = workers.pids
    await until(lambda: workers.pids == [])
    assert not lives(pid)
    assert (await workers.ask(LARGE)).status is Status.FOUND


@pytest.mark.parametrize("turns", [1, 2, 5])
@pytest.mark.parametrize("warm", [True, False])
async def test_close_during_a_check(turns: int, warm: bool) -> None:
    """Closing ends every process at once, also one that is just being started; what it was at is an error, who waited
    is refused."""
    made = Workers(KNOWLEDGE, count=1)
    if warm:
        await made.ask(CLEAN)
    pids = made.pids
    loop = asyncio.get_running_loop()
    under_way, waiting = loop.create_task(made.ask(endless())), loop.create_task(made.ask(CLEAN))
    for _ in range(turns):
        await asyncio.sleep(0)
    await made.close()
    assert not any(map(lives, pids))
    assert (await under_way).status is Status.ERROR
    with pytest.raises(RuntimeError, match="closed"):
        await waiting
    assert made.pids == []


async def test_signals_from_a_terminal_are_not_for_the_worker(workers: Workers) -> None:
    """What ends the gateway in order does not take the worker away under a check."""
    await workers.ask(CLEAN)
    (pid,) = workers.pids
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert (await workers.ask(LARGE)).status is Status.FOUND
    assert workers.pids == [pid]
    assert os.getpgid(pid) != os.getpgid(0)


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from scanners.body import SparseBody
from scanners.builtin.engine import Builtin
async def main():
    engine = Builtin()
    await engine.ask(SparseBody(1 << 20, []))
    print(*engine.workers.pids, flush=True)
    {then}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "then", ["await asyncio.sleep(60)", "await engine.ask(SparseBody(1 << 40, []))"], ids=["idle", "busy"]
)
def test_a_worker_does_not_outlive_its_parent(then: str, tmp_path: Path) -> None:
    """A gateway that is killed leaves no process behind, whatever the process is at; modules in the folder where it was
    started are not taken."""
    (tmp_path / "json.py").write_text("raise SystemExit('a module of somebody else')")
    command = [sys.executable, "-P", "-c", PARENT.format(root=str(ROOT), then=then)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    asyncio.run(until(lambda: not lives(pid)))


def test_a_worker_needs_little() -> None:
    """Neither mitmproxy nor the policy's model is imported by a worker."""
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); import scanners.builtin.service; "
        "print(sorted({'mitmproxy', 'pydantic', 'asyncio', 'yara_x'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, COMMAND[-1]], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_memory_is_bounded() -> None:
    """A search that would take more memory than a worker may have is an error, and the worker goes on."""
    code = (
        "import runpy, sys, os; runpy.run_path(sys.argv[1]); from scanners.builtin import service\n"
        "service.confine()\n"
        "class Greedy:\n  def scan(self, file): return bytearray(2 << 30)\n"
        "print(service._scan(Greedy(), None).detail)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, COMMAND[-1]], capture_output=True, check=True)
    assert done.stdout == b"searching it takes too much memory\n"
