"""Sluice beside others that check HTTP: requests a second, and large bodies, at full speed and from a slow origin.

    .venv/bin/python -m bench.http_peers [--rounds 5] [--parts small,fast,slow] [--gateways ...] [--write FILE]

Rules of this file: all stand before one clamd and one origin at the same time and take turns in short rounds, so that
what else the machine does strikes them alike; ratios are medians of the rounds' own; who lets EICAR through is told,
and who stalls is left out of that part, and told.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from bench import peers
from bench.load_client import Arrival, fetch, press
from bench.load_origin import make_body, serve
from bench.peers import INTERVAL, Peer, processor_time
from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.real.clamd_server import ClamdServer

CLAMD = {"StreamMaxLength": "1000M", "MaxFileSize": "1000M", "MaxScanSize": "2000M", "MaxThreads": "16"}
CLIENTS = 16
SECONDS = 1.0
LARGE = 100_000_000
PATIENCE = 8  # seconds, then a gateway stalls
SLOW = 5  # seconds that a slow origin takes for it
SMALL = {"1 KB": 1_000, "100 KB": 100_000}
DIRECT, NAIVE, OURS, SQUID = "no proxy", "naive addon", "Sluice, 1 worker", "squid + c-icap"

# The bars.
MOST_CPU = 1.6  # ms a request of 1 KB, without clamd's
MOST_OVER = 0.35  # s that 100 MB from the slow origin may take longer than without a proxy
MOST_LATE = 0.1  # s after `interval` for the first byte, and for each silence
FASTER = {NAIVE: 1.9, SQUID: 1.5}  # at 100 MB, one of them

type Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: requests a second, and processor time a request in ms, the gateway's own and clamd's."""

    rate: float
    own: float
    clamd: float


@dataclass(slots=True)
class Stage:
    """Everything that runs. `samples` are by part and gateway."""

    origin: int
    clamd: ClamdServer
    peers: Sequence[Peer]
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def url(self, path: object) -> str:
        """Of the origin."""
        return f"http://127.0.0.1:{self.origin}/{path}"

    def clamd_time(self) -> float:
        """Seconds of processor time that clamd has used."""
        assert self.clamd._process is not None
        return processor_time(self.clamd._process.pid)

    def keep(self, part: str, peer: Peer, sample: Sample) -> None:
        """One more sample."""
        self.samples.setdefault((part, peer.name), []).append(sample)

    def ratio(self, part: str, ours: str, theirs: str, what: Callable[[Sample], float]) -> float | None:
        """The median of the rounds' own ratios; None where one of the two did not take part."""
        a, b = self.samples.get((part, ours)), self.samples.get((part, theirs))
        return median(what(x) / what(y) for x, y in zip(a, b, strict=True)) if a and b else None


async def measure(stage: Stage, part: str, peer: Peer, size: int) -> Sample:
    """One round of small bodies."""
    own, clamd = peer.processor_time(), stage.clamd_time()
    tally = await press(peer.port, stage.url(size), size, clients=CLIENTS, seconds=SECONDS)
    done = max(len(tally.seconds), 1)
    stage.errors[peer.name] = stage.errors.get(peer.name, 0) + tally.errors
    used = (peer.processor_time() - own, stage.clamd_time() - clamd)
    return Sample(len(tally.seconds) / SECONDS, *(1000 * seconds / done for seconds in used))


async def measure_large(stage: Stage, part: str, peer: Peer, size: int) -> Sample:
    """One large body; the rate is in bodies a second."""
    own, clamd = peer.processor_time(), stage.clamd_time()
    arrival = await fetch(peer.port, stage.url(size))
    if not (arrival.whole and arrival.size == size):
        stage.errors[peer.name] = stage.errors.get(peer.name, 0) + 1
    used = (peer.processor_time() - own, stage.clamd_time() - clamd)
    return Sample(1 / arrival.total, *(1000 * seconds for seconds in used))


type Measure = Callable[[Stage, str, Peer, int], "asyncio.Future[Sample]"]


async def run_part(stage: Stage, part: str, size: int, rounds: int, how: Measure) -> None:
    """All gateways in turns; a first round of each warms up. One that does not serve it at all is left out."""
    able = [peer for peer in stage.peers if (await fetch(peer.port, stage.url(size), PATIENCE)).whole]
    say(f"{part}: {', '.join(peer.name for peer in able)}")
    for number in range(rounds + 1):
        shift = number % len(able)
        for peer in able[shift:] + able[:shift]:
            sample = await how(stage, part, peer, size)
            if number:
                stage.keep(part, peer, sample)


def say(what: str) -> None:
    """How far it is."""
    print(what, file=sys.stderr, flush=True)


# --- tables


def line(cells: Sequence[object]) -> str:
    """A row in Markdown."""
    return "| " + " | ".join(map(str, cells)) + " |"


def table(head: Sequence[str], rows: Rows) -> str:
    """In Markdown."""
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def told(value: float | None) -> str:
    """A ratio, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def noise(samples: Sequence[Sample]) -> str:
    """How far the rounds lie apart, as a part of their median."""
    rates = [s.rate for s in samples]
    return f"{(max(rates) - min(rates)) / median(rates):.0%}"


def rows(stage: Stage, part: str, show: Callable[[float], str]) -> Rows:
    """Each gateway's medians, and its rate as a ratio to the naive addon, to squid and to e2guardian."""
    found: Rows = []
    for peer in stage.peers:
        samples = stage.samples.get((part, peer.name))
        if not samples:
            found.append([part, peer.name, "stalls", *["-"] * 6])
            continue
        rate = partial(stage.ratio, part, peer.name, what=lambda s: s.rate)
        cells = [part, peer.name, show(median(s.rate for s in samples)), noise(samples)]
        cells += [told(rate(other)) for other in (NAIVE, SQUID, "e2guardian")]
        cells += [f"{median(s.own for s in samples):.2f}", f"{median(s.clamd for s in samples):.2f}"]
        found.append(cells if peer.port != stage.origin else [*cells[:-2], "-", "-"])
    return found


HEAD = ("body", "gateway", "{}", "noise", "of naive", "of squid", "of e2guardian", "CPU ms a request", "clamd's")


async def tell_small(stage: Stage, rounds: int) -> Iterator[str]:
    """Requests a second."""
    for part, size in SMALL.items():
        await run_part(stage, part, size, rounds, measure)  # type: ignore[arg-type]  # a coroutine function
    found = [row for part in SMALL for row in rows(stage, part, lambda rate: f"{rate:.0f}")]
    cpu = median(s.own for s in stage.samples["1 KB", OURS])
    bar = f"CPU of Sluice at 1 KB, clamd's left out: {cpu:.2f} ms, bar {MOST_CPU}: {judge(cpu <= MOST_CPU)}."
    intro = f"{CLIENTS} clients, kept connections, plain HTTP/1.1, {rounds} rounds of {SECONDS:g} s in turns."
    return iter(["## Small bodies", intro, table([h.format("requests/s") for h in HEAD], found), bar])


async def tell_fast(stage: Stage, rounds: int) -> Iterator[str]:
    """100 MB as fast as it goes."""
    part = "100 MB"
    await run_part(stage, part, LARGE, rounds, measure_large)  # type: ignore[arg-type]  # a coroutine function
    found = rows(stage, part, lambda rate: f"{rate * LARGE / 1e6:.0f}")
    ratios = {other: stage.ratio(part, OURS, other, lambda s: s.rate) for other in FASTER}
    met = any(ratio is not None and ratio >= FASTER[other] for other, ratio in ratios.items())
    words = ", ".join(f"{told(ratio)} of {other} (bar {FASTER[other]})" for other, ratio in ratios.items())
    intro = f"One body at a time, {rounds} rounds in turns. clamd alone takes {ask_clamd(stage):.2f} s for it (FILDES)."
    bar = f"Sluice is as fast as {words}; one of them is enough: {judge(met)}."
    return iter(["## Large bodies at full speed", intro, table([h.format("MB/s") for h in HEAD], found), bar])


async def tell_slow(stage: Stage, _rounds: int) -> Iterator[str]:
    """100 MB over some seconds."""
    arrivals: dict[str, Arrival] = {}
    for peer in stage.peers:
        arrivals[peer.name] = await fetch(peer.port, stage.url(f"{LARGE}/{SLOW}"), SLOW + 10)
    direct = arrivals[DIRECT].total
    found = [
        [name, f"{a.total:.2f}", f"{a.total - direct:.2f}", f"{a.first:.2f}", f"{a.silence:.2f}"]
        if a.whole
        else [name, "stalls", "-", "-", "-"]
        for name, a in arrivals.items()
    ]
    ours, scan = arrivals[OURS], ask_clamd(stage)
    over = ours.total - direct
    late = max(ours.first, ours.silence) - INTERVAL
    intro = (
        f"One body of 100 MB from an origin that takes {SLOW} s for it; Sluice's `interval` is {INTERVAL:g} s. clamd "
        f"alone takes {scan:.2f} s for it (FILDES), and begins when the body is complete."
    )
    bars = (
        f"Over the direct way: {over:.2f} s, bar {MOST_OVER}: {judge(over <= MOST_OVER)}; without clamd's own "
        f"{scan:.2f} s: {over - scan:.2f} s. First byte {ours.first:.2f} s and longest silence {ours.silence:.2f} s, "
        f"bar {INTERVAL + MOST_LATE:g}: {judge(late <= MOST_LATE)}."
    )
    head = ("gateway", "total s", "over direct s", "first byte s", "longest silence s")
    return iter(["## Large bodies from a slow origin", intro, table(head, found), bars])


def judge(met: bool) -> str:
    """A bar's word."""
    return "met" if met else "MISSED"


def ask_clamd(stage: Stage) -> float:
    """Seconds that clamd takes for the large body by itself, the least of three."""
    taken = []
    for number in range(3):
        body = MemoryBody(make_body(LARGE, 1 << 40 | number))
        descriptor = body.descriptor()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(stage.clamd.unix))
            began = time.monotonic()
            socket.send_fds(sock, [b"zFILDES\0\0"], [descriptor])
            os.close(descriptor)
            assert sock.recv(4096).endswith(b"OK\0")
            taken.append(time.monotonic() - began)
    return min(taken)


async def tell_blocks(stage: Stage) -> str:
    """Who stops EICAR."""
    found = []
    for peer in stage.peers:
        arrival = await fetch(peer.port, stage.url("eicar"), 10)
        found.append([peer.name, arrival.status, "passes" if EICAR in arrival.head else "blocked"])
    return "\n\n".join(["## EICAR", table(("gateway", "status", "EICAR"), found)])


PARTS = {"small": tell_small, "fast": tell_fast, "slow": tell_slow}


STARTS: dict[str, Callable[[Path, Path], contextlib.AbstractContextManager[Peer]]] = {
    "stock": peers.stock,
    "naive": peers.naive,
    "sluice": peers.sluice,
    "sluice2": partial(peers.sluice, workers=2),
    "squid": peers.squid,
    "e2guardian": peers.e2guardian,
}


def can_start(name: str) -> bool:
    """Whether it is installed."""
    return {"squid": peers.has_squid, "e2guardian": peers.has_e2guardian}.get(name, lambda: True)()


@contextlib.contextmanager
def small_clamd() -> Iterator[ClamdServer]:
    """One that knows EICAR alone: with signatures of hashes it would hash every body, by three algorithms."""
    clamd = ClamdServer(CLAMD)
    (clamd.database / "test.hsb").unlink(missing_ok=True)
    clamd.directory.chmod(0o755)  # daemons of other users ask it, too
    try:
        clamd.start()
        yield clamd
    finally:
        clamd.stop()


async def settle(stage: Stage) -> None:
    """Wait until clamd rests: the limit probes run behind the ready line."""
    while True:
        before = stage.clamd_time()
        await asyncio.sleep(1)
        if stage.clamd_time() - before < 0.01:
            return


async def run(parts: Sequence[str], names: Sequence[str], rounds: int) -> str:
    """The page's text."""
    with contextlib.ExitStack() as stack:
        clamd = stack.enter_context(small_clamd())
        folders = stack.enter_context(peers.folders())
        async with await serve() as origin:
            port: int = origin.sockets[0].getsockname()[1]
            found = [Peer(DIRECT, port, ())]
            for name in filter(can_start, names):
                found.append(stack.enter_context(STARTS[name](next(folders), Path(str(clamd.unix)))))
            stage = Stage(port, clamd, found)
            say("settling")
            await settle(stage)
            say("settled")
            told = [await tell_blocks(stage)]
            for part in parts:
                told += await PARTS[part](stage, rounds)
                say("\n\n".join(told))
            failed = {name: count for name, count in stage.errors.items() if count}
            return "\n\n".join([*told, f"Requests that failed: {failed or 'none'}."])


def main() -> None:
    """Run and print; `--write` keeps the page with a line on the machine."""
    parser = argparse.ArgumentParser(description="Sluice beside other gateways before one clamd.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--gateways", default=",".join(STARTS), help="of these; naive and sluice must be among them")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended in any case
    busy = os.getloadavg()[0]
    text = asyncio.run(run(options.parts.split(","), options.gateways.split(","), options.rounds))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {busy:.1f} at the start"
    told = f"{machine}; clients, origin and clamd share the cores.\nHow: bench/README.md."
    page = f"# Beside other gateways\n\n{told}\n\n{text}\n"
    print(page)
    if options.write:
        options.write.write_text(page)


if __name__ == "__main__":
    main()
