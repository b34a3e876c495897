"""The gateway, its engine and its next hop are killed amid mails: none is lost after our 250, none comes twice but
where SMTP itself cannot know, and no half entry lies in the quarantine. AVSLUICE_FULL=1 runs it at full length."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from scanners.specimens import EICAR
from tests.fakes.loop_thread import LoopThread
from tests.http.proxy import ROOT
from tests.real.clamd_server import run_clamd
from tests.real.ports import free_port
from tests.smtp.conftest import VARIANT_1, RunSmtp, write_policy
from tests.smtp.load import FULL, Load, read_name

pytestmark = pytest.mark.timeout(700 if FULL else 120)
SEED = 7
FILLER = b"0123456789abcde\r\n" * 4000


class Sink:
    """The next hop's process."""

    def __init__(self, file: Path) -> None:
        self.port, self.file = free_port(), file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it listens."""
        words = [sys.executable, str(ROOT / "tests/fakes/mail_sink.py"), str(self.port), str(self.file)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """At once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def taken(self) -> Counter[str]:
        """How often each mail came."""
        return Counter(read_name(line) for line in self.file.read_bytes().splitlines())


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """One that runs."""
    file = tmp_path / "taken"
    file.touch()
    server = Sink(file)
    server.start()
    yield server
    server.kill()


class Progress:
    """Counts mails that are done with."""

    def __init__(self) -> None:
        self._done = 0
        self._changed = threading.Condition()

    def step(self) -> None:
        """One more."""
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def wait_for(self, count: int, work: Future[None]) -> None:
        """Until so many are done with, or everything is."""
        with self._changed:
            self._changed.wait_for(lambda: self._done >= count or work.done(), 60)


def make_mails(count: int) -> dict[str, bytes]:
    """Every fourth is infected."""
    mails = {}
    for number in range(count):
        body = EICAR if number % 4 == 3 else b"clean"
        mails[f"m{number}"] = b"Message-ID: <%d@example.org>\r\nSubject: s\r\n\r\n%s\r\n" % (number, body) + FILLER
    return mails


def check(load: Load, taken: Counter[str], quarantine: Path) -> None:
    """What must hold, whatever was killed."""
    clean = {name for name, mail in load.mails.items() if EICAR not in mail}
    assert set(load.answers) == set(load.mails)
    assert all(answer.startswith(b"250") for answer in load.answers.values())
    assert set(taken) == clean
    assert {name: count for name, count in taken.items() if count > 1 + load.unsure[name]} == {}
    for name in set(load.mails) - clean:
        entry = load.answers[name].split()[-1].decode()
        assert (quarantine / f"{entry}.data").read_bytes() == load.mails[name]
        assert (quarantine / f"{entry}.json").stat().st_size > 0
    check_entries(quarantine)


def kill_group(run: RunSmtp) -> None:
    """`avsluice run` and its children, which are a session of their own."""
    os.killpg(run.pid, signal.SIGKILL)
    run.stop()


def test_the_gateway_is_killed(sink: Sink, tmp_path: Path) -> None:
    """At random moments, under load; it is started again, and the clients try again."""
    count, kills = (400, 25) if FULL else (60, 3)
    chance = random.Random(SEED)  # noqa: S311 - the same moments each time
    port = free_port()
    policy = write_policy(tmp_path, sink.port, VARIANT_1, port)
    progress = Progress()
    load = Load(port, make_mails(count), most_tries=400, pause=0.1, on_answer=progress.step)
    run = RunSmtp(policy, tmp_path)
    run.__enter__()
    with LoopThread() as clients, ThreadPoolExecutor(1) as pool:
        work = pool.submit(clients.run, load.run(8), 100 if not FULL else 600)
        for moment in sorted(chance.sample(range(count * 8 // 10), kills)):
            progress.wait_for(moment, work)
            time.sleep(chance.uniform(0, 0.03))  # the moment is to be a random one
            kill_group(run)
            check_entries(tmp_path / "quarantine")
            run = RunSmtp(policy, tmp_path)
            run.__enter__()
        work.result()
    run.stop()
    assert sum(load.tries.values()) > count
    check(load, sink.taken(), tmp_path / "quarantine")
    assert not list((tmp_path / "quarantine").glob("*.tmp"))
    report(load, sink)


def check_entries(quarantine: Path) -> None:
    """What has metadata has all of its data, also right behind a kill."""
    for metadata in quarantine.glob("*.json"):
        assert metadata.with_suffix(".data").read_bytes().endswith(FILLER)


@pytest.mark.clamd
def test_the_engine_and_the_next_hop_are_killed(sink: Sink, tmp_path: Path) -> None:
    """In turn, amid many mails; each comes back, and every mail arrives in the end."""
    count, kills = (1000, 20) if FULL else (80, 4)
    chance = random.Random(SEED)  # noqa: S311 - the same moments each time
    progress = Progress()
    with run_clamd() as clamd, LoopThread() as clients, ThreadPoolExecutor(1) as pool:
        policy = write_policy(tmp_path, sink.port, VARIANT_1)
        engine = f"{{protocol: clamav-net, address: {clamd.unix}, canary: 100ms, timeout: 5s}}"
        policy.write_text(policy.read_text().replace("{protocol: builtin}", engine))
        with RunSmtp(policy, tmp_path) as run:
            load = Load(run.port, make_mails(count), most_tries=400, pause=0.1, on_answer=progress.step)
            work = pool.submit(clients.run, load.run(8), 100 if not FULL else 600)
            for number, moment in enumerate(sorted(chance.sample(range(count * 8 // 10), kills))):
                progress.wait_for(moment, work)
                if number % 2:
                    sink.kill()
                    sink.start()
                else:
                    clamd.signal(signal.SIGKILL)
                    clamd.start()
            work.result()
            assert run.crashes() == []
    assert sum(load.tries.values()) > count
    check(load, sink.taken(), tmp_path / "quarantine")
    report(load, sink)


def report(load: Load, sink: Sink) -> None:
    """For who runs it by hand, with -s."""
    twice = sum(count - 1 for count in sink.taken().values())
    print(
        f"{len(load.mails)} mails, {sum(load.tries.values())} tries, {sum(load.unsure.values())} unsure, {twice} twice"
    )
