"""What a checked request costs: stock mitmdump, a naive addon and Sluice side by side, before one real clamd.

    .venv/bin/python -m bench.http_cost [--rounds 40] [--sizes 1KB,100KB,10MB,500MB] [--write FILE]

Rules of this file: the three proxies run all the time and take turns in short rounds, so that what else the machine
does strikes them alike; connections are kept, as browsers keep them; processor time is the kernel's count for the
process, threads included, in nanoseconds; no body is asked for twice, so that no cache of verdicts can answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.fakes.loop_thread import LoopThread
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Fill, Reply, Request
from tests.http.proxy import STOCK, Proxy
from tests.real.clamd_server import run_clamd

NAIVE = Path(__file__).with_name("naive_addon.py")
CONNECTIONS = 8
CLAMD = {"StreamMaxLength": "1000M", "MaxFileSize": "1000M", "MaxScanSize": "2000M"}


@dataclass(frozen=True, slots=True)
class Load:
    """A size in bytes, how many requests make one measurement, one round of it in how many, and the bar: ours to
    naive at the most."""

    name: str
    size: int
    requests: int
    one_in: int
    bar: float


LOADS = {
    load.name: load
    for load in (
        Load("1KB", 1_000, 80, 1, 1.25),
        Load("100KB", 100_000, 80, 1, 0.9),
        Load("10MB", 10_000_000, 16, 2, 0.7),
        Load("500MB", 500_000_000, 1, 10, 0.7),
    )
}

POLICY = """\
antivirus:
  CLAMD: {{protocol: clamav-net, address: {socket}, timeout: 120s, max-checked-size: 600MB}}
http-proxy:
  HTTP:
    listen: 127.0.0.1:8080
    doc-acl:
      - {{name: ALL, antivirus: [CLAMD], interval: 5s, chunk: 2000, limit: 64KiB}}
"""


type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement, per request and in milliseconds: the proxy's and clamd's processor time, and the wall's."""

    proxy: float
    clamd: float
    wall: float


def processor_time(pid: int) -> float:
    """Seconds of processor time of a process, by its clock (clock_getcpuclockid(3) tells how it is numbered)."""
    return time.clock_gettime((~pid << 3) | 2)


class Stage:
    """Origin, clamd and the three proxies, running."""

    def __init__(self, loop: LoopThread, origin: Origin, clamd_pid: int, proxies: dict[str, Proxy]) -> None:
        self._loop, self._origin, self._clamd_pid, self.proxies = loop, origin, clamd_pid, proxies
        self._number = itertools.count()
        self._connections: dict[Proxy, list[Connection]] = {}

    def serve(self, load: Load) -> str:
        """The URL of bodies of that size, no two alike."""

        def answer(_request: Request) -> Reply:
            return Reply(steps=(next(self._number).to_bytes(16), Fill(load.size - 16)))

        return self._origin.serve(f"/{load.name}", answer)

    def measure(self, proxy: Proxy, load: Load, requests: int) -> Sample:
        """One measurement of a load through a proxy."""
        pids = (proxy.pid, self._clamd_pid)
        connections = self._connect(proxy)
        before, began = [processor_time(pid) for pid in pids], time.monotonic()
        self._loop.run(fetch_all(connections, self.serve(load), load.size, requests), timeout=600)
        wall = time.monotonic() - began
        used = [processor_time(pid) - b for pid, b in zip(pids, before, strict=True)]
        return Sample(*(1000 * seconds / requests for seconds in (*used, wall)))

    def _connect(self, proxy: Proxy) -> list[Connection]:
        if proxy not in self._connections:
            self._connections[proxy] = self._loop.run(connect(proxy.port))
        return self._connections[proxy]

    def disconnect(self) -> None:
        """Close what the clients hold open."""
        for connections in self._connections.values():
            self._loop.run(disconnect(connections))

    def settle(self) -> None:
        """Wait until clamd rests: the limit probe runs behind the ready line."""
        while True:
            before = processor_time(self._clamd_pid)
            time.sleep(1)
            if processor_time(self._clamd_pid) - before < 0.01:
                return


async def connect(port: int) -> list[Connection]:
    """As many connections as there are clients."""
    return [await asyncio.open_connection("127.0.0.1", port, limit=1 << 20) for _ in range(CONNECTIONS)]


async def disconnect(connections: Sequence[Connection]) -> None:
    """Close them and wait for it."""
    for _reader, writer in connections:
        writer.close()
        await writer.wait_closed()


async def fetch_all(connections: Sequence[Connection], url: str, size: int, requests: int) -> None:
    """That many GETs; AssertionError where a reply is not 200 and whole."""
    async with asyncio.TaskGroup() as clients:
        for number, connection in enumerate(connections):
            clients.create_task(fetch(connection, url, size, len(range(number, requests, len(connections)))))


async def fetch(connection: Connection, url: str, size: int, requests: int) -> None:
    """GETs one after the other on one connection."""
    reader, writer = connection
    request = f"GET {url} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    for _ in range(requests):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert f"content-length: {size}\r\n".encode() in head.lower(), head
        left = size
        while left:
            data = await reader.read(min(left, 1 << 20))
            assert data, f"{left} bytes of {size} are missing"
            left -= len(data)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Everything started, and stopped at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pid_file = folder / "clamd.pid"
        clamd = stack.enter_context(run_clamd({**CLAMD, "PidFile": str(pid_file)}))
        policy = folder / "policy.yaml"
        policy.write_text(POLICY.format(socket=clamd.unix))
        confdir = f"confdir={folder / 'mitmproxy'}"
        naive = {"NAIVE_CLAMD": str(clamd.unix)}
        proxies = {
            "stock mitmdump": Proxy(scripts=(), options=[confdir], ready=STOCK),
            "naive addon": Proxy(scripts=[NAIVE], options=[confdir], ready=STOCK, env=naive),
            "Sluice": Proxy(options=[confdir, f"av_policy={policy}"]),
        }
        for proxy in proxies.values():
            stack.enter_context(proxy)
        loop = stack.enter_context(LoopThread())
        origin = Origin()
        loop.run(origin.start())
        stack.callback(lambda: loop.run(origin.close()))
        here = Stage(loop, origin, int(pid_file.read_text()), proxies)
        stack.callback(here.disconnect)
        yield here


def run(loads: Sequence[Load], rounds: int) -> dict[tuple[str, str], list[Sample]]:
    """All samples by load and proxy; a first round of each warms up and is not counted."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    with stage() as here:
        here.settle()
        for load in loads:
            for number in range(-(-rounds // load.one_in) + 1):
                names = list(here.proxies)
                for name in names[number % 3 :] + names[: number % 3]:
                    warming = not number
                    sample = here.measure(here.proxies[name], load, load.requests)
                    if not warming:
                        samples.setdefault((load.name, name), []).append(sample)
            print(f"{load.name} done", file=sys.stderr)
        crashes = [line for proxy in here.proxies.values() for line in proxy.crashes()]
        assert not crashes, crashes
    return samples


def spread(values: Sequence[float]) -> float:
    """The noise: how far the samples lie apart, as a part of their median."""
    return (max(values) - min(values)) / median(values)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios: both sides of each met the same load of the machine."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def table(loads: Sequence[Load], samples: dict[tuple[str, str], list[Sample]]) -> str:
    """The result in Markdown."""
    lines = [
        "| body | proxy | CPU ms a request | noise | to naive | with clamd | to naive | wall ms | bar |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load in loads:
        naive = samples[load.name, "naive addon"]
        alone, both = [s.proxy for s in naive], [s.proxy + s.clamd for s in naive]
        for name in ("stock mitmdump", "naive addon", "Sluice"):
            of = samples[load.name, name]
            cpu, total = [s.proxy for s in of], [s.proxy + s.clamd for s in of]
            cells = [load.name, name, f"{median(cpu):.2f}", f"{spread(cpu):.0%}", f"{ratio(cpu, alone):.2f}"]
            cells += [f"{median(total):.2f}", f"{ratio(total, both):.2f}", f"{median(s.wall for s in of):.2f}"]
            cells.append(judge(load.bar, ratio(cpu, alone), ratio(total, both)) if name == "Sluice" else "")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def judge(bar: float, alone: float, both: float) -> str:
    """The bar and how it stands, for the proxy alone and together with clamd."""
    words = [
        f"{name} {'met' if value <= bar else 'MISSED'}" for name, value in (("alone", alone), ("with clamd", both))
    ]
    return f"{bar}: {', '.join(words)}"


def main() -> None:
    """Run and print; `--write` keeps the table with a line on the machine."""
    parser = argparse.ArgumentParser(description="CPU per request: stock mitmdump, a naive addon, Sluice.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--sizes", default=",".join(LOADS))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    loads = [LOADS[name] for name in options.sizes.split(",")]
    busy = os.getloadavg()[0]
    result = table(loads, run(loads, options.rounds))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {busy:.1f} at the start"
    told = f"{options.rounds} rounds, medians; {machine}."
    print(f"{told}\n\n{result}")
    if options.write:
        options.write.write_text(f"# CPU per request through HTTP\n\n{told}\nHow: bench/README.md.\n\n{result}\n")


if __name__ == "__main__":
    main()
