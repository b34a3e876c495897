"""What a check by ICAP costs: ours beside python-icap, before one c-icap.

    .venv/bin/python -m bench.icap_cost [--rounds 5] [--write FILE]

With python-icap 0.2.0 in PYTHONPATH it is measured too. Rules of this file: what is compared takes turns in every
round, on one kept connection each; clamd has its clean-cache on, so that the way of the bytes is seen and not the scan;
processor time is our own process's; c-icap ends a connection after 101 requests, which python-icap does not stand:
every round begins with a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.icap.net import Icap
from tests.real.c_icap_server import CIcapServer, run_c_icap
from tests.real.clamd_server import run_clamd

KB, MB = 1_000, 1_000_000
SIZES = {"1 KB": (KB, 90), "100 KB": (100 * KB, 90), "4 MB": (4 * MB, 30)}
CLAMD = {"DisableCache": "no"}
C_ICAP = {"virus_scan.MaxObjectSize": "100M"}
REQUEST = b"GET http://sluice.invalid/object.bin HTTP/1.1\r\nHost: sluice.invalid\r\n\r\n"

type Figure = tuple[float, float]
"""Milliseconds a check: on the clock, and of our processor."""

type Measure = Callable[[CIcapServer, bytes, int], Coroutine[None, None, Figure]]


class Watch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent = time.process_time()

    def read(self, count: int) -> Figure:
        """For each of `count` checks."""
        clock, processor = time.perf_counter() - self._began, time.process_time() - self._spent
        return clock / count * 1000, processor / count * 1000


async def measure_ours(server: CIcapServer, data: bytes, count: int) -> Figure:
    """By the engine."""
    engine, body = Icap(server.tcp, "/avscan"), MemoryBody(data)
    await engine.version()
    watch = Watch()
    for _ in range(count):
        answer = await engine.ask(body)
        if answer.status is not Status.FREE:
            raise RuntimeError(answer)
    figure = watch.read(count)
    await engine.close()
    return figure


async def _measure_theirs(server: CIcapServer, data: bytes, count: int, preview: int | None) -> Figure:
    client = importlib.import_module("icap").AsyncIcapClient(server.tcp.host, server.tcp.port)
    response = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(data)
    async with client:
        await client.options("avscan")
        watch = Watch()
        for _ in range(count):
            reply = await client.respmod("avscan", REQUEST, response + data, preview=preview)
            if reply.status_code != 204:
                raise RuntimeError(reply)
        return watch.read(count)


async def measure_theirs(server: CIcapServer, data: bytes, count: int) -> Figure:
    """The whole object at once."""
    return await _measure_theirs(server, data, count, None)


async def measure_theirs_with_preview(server: CIcapServer, data: bytes, count: int) -> Figure:
    """With a preview, as ours."""
    return await _measure_theirs(server, data, count, 1024)


def find_measures() -> dict[str, Measure]:
    """Ours, and python-icap's where it is installed."""
    found: dict[str, Measure] = {"ours": measure_ours}
    if importlib.util.find_spec("icap") is not None:
        found["python-icap"] = measure_theirs
        found["python-icap, preview"] = measure_theirs_with_preview
    return found


def measure(server: CIcapServer, rounds: int) -> dict[str, dict[str, list[Figure]]]:
    """For every size and client, one figure a round."""
    clients = find_measures()
    figures: dict[str, dict[str, list[Figure]]] = {}
    for name, (size, count) in SIZES.items():
        data = os.urandom(size)
        columns = figures[name] = {client: [] for client in clients}
        for _ in range(rounds):
            for client, run in clients.items():
                columns[client].append(asyncio.run(run(server, data, count)))
    return figures


def report(figures: dict[str, dict[str, list[Figure]]], rounds: int) -> str:
    """A table in Markdown."""
    lines = [
        "# icap_cost: milliseconds a check, one at a time, on a kept connection",
        "",
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors, {rounds} rounds;",
        "medians of the clock / of our own processor, and in brackets the median of each round's ratio to ours. The",
        "bar: at least 1.5 at 4 MB. What c-icap and clamd take is in the clock's figures of all alike.",
        "",
    ]
    clients = list(next(iter(figures.values())))
    lines += ["| size | " + " | ".join(clients) + " |", "|---" * (len(clients) + 1) + "|"]
    for name, columns in figures.items():
        cells = [describe(columns[client], columns["ours"]) for client in clients]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def describe(theirs: list[Figure], ours: list[Figure]) -> str:
    """One cell."""
    parts = []
    for kind in range(2):
        ratio = median(their[kind] / our[kind] for their, our in zip(theirs, ours, strict=True))
        parts.append(f"{median(figure[kind] for figure in theirs):.2f} ({ratio:.2f})")
    return " / ".join(parts)


def main() -> None:
    """Measures, prints, and writes where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with run_clamd(CLAMD) as clamd, run_c_icap(Path(str(clamd.unix)), C_ICAP) as server:
        text = report(measure(server, options.rounds), options.rounds)
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
