"""What a check costs us: clamd by descriptor and by stream, the loop's stalls, and a verdict that is remembered.

    .venv/bin/python -m bench.engine_cost [--rounds 5] [--write FILE]

With aioclamd 1.1.0 in PYTHONPATH it is measured too. Rules of this file: what is compared takes turns in every round;
processor time is our own process's; clamd has its clean-cache on in the stream's comparison, so that the way of the
bytes is seen and not the scan.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import os
import platform
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from io import BytesIO
from pathlib import Path
from statistics import median

from inspection.spool import Spool, SpoolRoom
from policy.address import Address
from policy.verdict import Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.cache import VerdictCache
from scanners.clamd.net import ClamavNet, Transport
from scanners.clamd.wire import send_stream
from scanners.endpoint import Endpoint, Terms
from scanners.pool import Pool
from tests.real.clamd_server import ClamdServer, run_clamd

KB, MB = 1_000, 1_000_000
IN_FLIGHT = 32
CHECKS = 6_000
BARE_CHUNK = 64 * 1024
CLAMD = {"MaxThreads": "40", "MaxQueue": "200"}


async def open_engine(address: Address, road: Transport, *, cache: bool = True) -> Antivirus:
    """As the registry opens a section, but for room for 32 checks and a memory of nothing that was measured before."""
    terms = Terms(max_checked_size=110 * MB, timeout=60, canary=30, concurrency=IN_FLIGHT)
    memory = VerdictCache(free=600, found=600, entries=100_000).section("bench") if cache else None
    pool = Pool([Endpoint([ClamavNet(address, road)], terms)])
    antivirus = Antivirus("BENCH", pool, timeout=60, max_checked_size=110 * MB, cache=memory)
    await antivirus.start()
    while antivirus.endpoints[0].limit != 110 * MB:  # noqa: ASYNC110  (the limit probe, before anything is measured)
        await asyncio.sleep(0.05)
    return antivirus


async def measure_rate(antivirus: Antivirus) -> tuple[float, float]:
    """Checks a second, and our own microseconds for each, at 32 in flight; every kilobyte is a new one."""
    bodies = [MemoryBody(os.urandom(KB)) for _ in range(CHECKS)]

    async def work(mine: Sequence[MemoryBody]) -> None:
        for body in mine:
            report = await antivirus.check(body)
            if report.status is not Status.FREE or report.cached:
                raise RuntimeError(report)

    began, spent = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(IN_FLIGHT):
            tasks.create_task(work(bodies[number::IN_FLIGHT]))
    return CHECKS / (time.perf_counter() - began), (time.process_time() - spent) / CHECKS * 1e6


def measure_floor(path: str) -> float:
    """Our microseconds for the same by bare blocking sockets, one after the other: no loop, no proof, no verdict."""
    parts = [os.urandom(KB) for _ in range(CHECKS // 2)]
    spent = time.process_time()
    for part in parts:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            descriptor = MemoryBody(part).descriptor()
            socket.send_fds(sock, [b"zFILDES\0\0"], [descriptor])
            os.close(descriptor)
            while sock.recv(4096):
                pass
    return (time.process_time() - spent) / len(parts) * 1e6


async def send_bare(address: Address, data: bytes) -> bytes:
    """The least that INSTREAM needs: asyncio streams, 64 KiB at a time, then the reply."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"zINSTREAM\0")
    for offset in range(0, len(data), BARE_CHUNK):
        part = data[offset : offset + BARE_CHUNK]
        writer.write(len(part).to_bytes(4) + part)
        await writer.drain()
    writer.write(bytes(4))
    await writer.drain()
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    return reply


async def time_once(act: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await act()
    return 1000 * (time.perf_counter() - began)


async def compare_streams(server: ClamdServer, rounds: int) -> dict[str, list[float]]:
    """Milliseconds for 10 MB by INSTREAM over TCP; the senders take turns."""
    data = os.urandom(10 * MB)
    body = MemoryBody(data)
    antivirus = await open_engine(server.tcp, Transport.INSTREAM, cache=False)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "a whole check": lambda: antivirus.check(body),
        "our sender alone": lambda: send_stream(server.tcp, body),
        "bare sender": lambda: send_bare(server.tcp, data),
    }
    try:
        aioclamd = importlib.import_module("aioclamd")
    except ImportError:
        print("aioclamd is not installed: left out")
    else:
        client = aioclamd.ClamdAsyncClient(server.tcp.host, server.tcp.port)
        acts["aioclamd 1.1.0"] = lambda: client.instream(BytesIO(data))
    for act in acts.values():
        await act()
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            times[name].append(await time_once(act))
    await antivirus.close()
    return times


async def watch_stalls(act: Callable[[], Awaitable[object]]) -> float:
    """The longest that the loop kept a millisecond's timer waiting, in milliseconds."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, 1000 * (time.perf_counter() - began) - 1)

    ticking = asyncio.get_running_loop().create_task(tick())
    await act()
    ticking.cancel()
    await asyncio.wait([ticking])
    return worst


def fill_spool(size: int) -> tuple[Spool, float]:
    """A complete spool, and the milliseconds that its hash alone took."""
    spool = SpoolRoom(memory=0).open()
    part = os.urandom(MB)
    for _ in range(size // MB):
        spool.append(part)
    spool.finish()
    digest = hashlib.sha256()
    began = time.perf_counter()
    for _ in range(size // MB):
        digest.update(part)
    return spool, 1000 * (time.perf_counter() - began)


async def measure_hit(server: ClamdServer) -> tuple[float, float, float]:
    """Milliseconds: the check of 100 MB, the same once it is remembered (the median of 100), and its hash."""
    antivirus = await open_engine(server.unix, Transport.FILDES)
    spool, hashing = fill_spool(100 * MB)
    first = (await antivirus.check(spool)).ms
    hits = [await antivirus.check(spool) for _ in range(100)]
    if not all(hit.cached and hit.status is Status.FREE for hit in hits):
        raise RuntimeError(hits[0])
    spool.close()
    await antivirus.close()
    return first, median(hit.ms for hit in hits), hashing


async def measure_stalls(server: ClamdServer, rounds: int) -> dict[str, list[float]]:
    """The longest stall during single checks and under load; "nothing at all" is the machine's own."""
    unix = await open_engine(server.unix, Transport.FILDES, cache=False)
    tcp = await open_engine(server.tcp, Transport.INSTREAM, cache=False)
    spool, _ = fill_spool(100 * MB)
    bodies = [MemoryBody(os.urandom(100 * KB)) for _ in range(IN_FLIGHT)]

    async def many() -> None:
        async with asyncio.TaskGroup() as tasks:
            for body in bodies:
                tasks.create_task(unix.check(body))

    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "nothing at all": lambda: asyncio.sleep(0.5),
        "100 MB by descriptor": lambda: unix.check(spool),
        "100 MB by stream": lambda: tcp.check(spool),
        "32 times 100 KB by descriptor": many,
    }
    stalls: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            stalls[name].append(await watch_stalls(act))
    spool.close()
    await unix.close()
    await tcp.close()
    return stalls


def show(values: Sequence[float], digits: int = 1) -> str:
    """Median, and the lowest and highest beside it."""
    return f"{median(values):,.{digits}f} | {min(values):,.{digits}f} .. {max(values):,.{digits}f}"


async def measure(rounds: int) -> list[str]:
    """The report's lines."""
    lines = ["| by descriptor, 1 KB, 32 in flight | median | range |", "|---|---|---|"]
    with run_clamd(CLAMD) as server:
        antivirus = await open_engine(server.unix, Transport.FILDES)
        rates, floor = [], []
        for _ in range(rounds):
            rates.append(await measure_rate(antivirus))
            floor.append(measure_floor(str(server.unix)))
        await antivirus.close()
        lines.append(f"| checks a second (bar: 2,500) | {show([r for r, _ in rates], 0)} |")
        lines.append(f"| our processor time a check, us | {show([us for _, us in rates], 0)} |")
        lines.append(f"| the same by bare blocking sockets, one at a time | {show(floor, 0)} |")
    with run_clamd({**CLAMD, "DisableCache": "no"}) as server:
        times = await compare_streams(server, rounds)
        lines += ["", "| 10 MB by stream over TCP | ms, median | range | to a whole check |", "|---|---|---|---|"]
        ours = median(times["a whole check"])
        lines += [f"| {name} | {show(t)} | {median(t) / ours:.2f} |" for name, t in times.items()]
        stalls = await measure_stalls(server, rounds)
        lines += ["", "| longest stall of the loop (bar: 20 ms) | ms, median | range |", "|---|---|---|"]
        lines += [f"| {name} | {show(t)} |" for name, t in stalls.items()]
        first, hit, hashing = await measure_hit(server)
        lines += ["", "| 100 MB, by descriptor | ms |", "|---|---|", f"| the check | {first:.1f} |"]
        lines += [f"| the same, remembered | {hit:.3f} |", f"| its hash, taken while it is spooled | {hashing:.1f} |"]
    return lines


def main() -> None:
    """Measures, prints, and writes where told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    report = "\n".join(asyncio.run(measure(options.rounds)))
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} processors"
    about = f"{machine}, load {load:.1f} before and {os.getloadavg()[0]:.1f} after, {options.rounds} rounds"
    print(f"{about}\n\n{report}")
    if options.write is not None:
        # What stands below a heading of its own is written by others.
        _, heading, others = (options.write.read_text() if options.write.exists() else "").partition("\n## ")
        options.write.write_text(f"# What a check costs\n\n{about}.\n\n{report}\n{heading}{others}")


if __name__ == "__main__":
    main()
