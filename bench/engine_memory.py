"""How our memory grows during one check, by the size of the object: it must not depend on it.

    .venv/bin/python -m bench.engine_memory [--write FILE]

Rules of this file: the objects are zeros behind some random bytes, so that they cost us no memory themselves; the
peak is the kernel's (proc(5), VmHWM, reset before each check).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from pathlib import Path

from policy.verdict import Status
from scanners.body import SparseBody
from scanners.clamd.net import ClamavNet, Transport
from scanners.engine import Engine
from scanners.icap.net import Icap
from tests.real.c_icap_server import run_c_icap
from tests.real.clamd_server import run_clamd

MB = 1_000_000
SIZES = {"1 MB": MB, "100 MB": 100 * MB, "1 GB": 1000 * MB}
CLAMD = {"StreamMaxLength": "1100M", "MaxScanSize": "1100M", "MaxFileSize": "1100M"}
C_ICAP = {"virus_scan.MaxObjectSize": "1100M"}


def read_status(name: str) -> int:
    """A field of /proc/self/status, in KiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the kernel tells no {name}")
    return int(found[1])


def reset_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


async def measure_growth(engine: Engine, size: int) -> float:
    """MB above what was in use before."""
    body = SparseBody(size, [(0, os.urandom(16))])
    reset_peak()
    before = read_status("VmRSS")
    answer = await engine.ask(body)
    if answer.status not in (Status.FREE, Status.SKIPPED):
        raise RuntimeError(answer)
    return max(0, read_status("VmHWM") - before) * 1024 / MB


async def measure() -> list[str]:
    """The table's lines."""
    with run_clamd(CLAMD) as clamd, run_c_icap(Path(str(clamd.unix)), C_ICAP) as server:
        engines: dict[str, Engine] = {
            "clamd by descriptor": ClamavNet(clamd.unix, Transport.FILDES),
            "clamd by stream": ClamavNet(clamd.tcp, Transport.INSTREAM),
            "ICAP": Icap(server.tcp, "/avscan"),
        }
        lines = [f"| MB above idle | {' | '.join(SIZES)} |", "|---" * (len(SIZES) + 1) + "|"]
        for name, engine in engines.items():
            await engine.version()
            await engine.ask(SparseBody(10 * MB, []))  # the code is loaded, the buffers have their size
            grown = [await measure_growth(engine, size) for size in SIZES.values()]
            lines.append(f"| {name} | {' | '.join(f'{mb:.1f}' for mb in grown)} |")
            await engine.close()
    return lines


def main() -> None:
    """Measures, prints, and writes where told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    table = "\n".join(asyncio.run(measure()))
    print(table)
    if options.write is not None:
        options.write.write_text(f"# How our memory grows during one check\n\n{table}\n")


if __name__ == "__main__":
    main()
