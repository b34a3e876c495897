"""What a check costs over FTP: a large file, and many small ones, beside vsftpd itself and stock aioftp.Server.

    .venv/bin/python -m bench.ftp_cost [--rounds 3] [--megabytes 1000] [--write FILE]

On a quiet machine: `.venv/bin/python -m bench.ftp_cost --rounds 5 --megabytes 1000 --write bench/ftp_cost.md`. The
bars: `unchecked` at least 0.2 of vsftpd for the large file; for small ones 0.5 of aioftp.Server and, if possible, 0.2
of vsftpd.

Rules of this file: what is compared takes turns in every round, by one ftplib client that throws the bytes away; only
ratios within a round mean anything. `unchecked` is an ACL without antivirus, `clamd` a real one by FILDES.
"""

from __future__ import annotations

import argparse
import contextlib
import ftplib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import proxy
from tests.real.clamd_server import run_clamd
from tests.real.ftp_server import free_port
from tests.real.vsftpd_server import VsftpdServer

MB = 1_000_000
SMALL, FILES = 10_000, 200
CLAMD = {
    "StreamMaxLength": "1900M",
    "MaxFileSize": "1900M",
    "MaxScanSize": "1900M",
    "MaxScanTime": "0",
    "LogClean": "yes",
}
STOCK = """
import asyncio, sys, aioftp
user = aioftp.User(base_path=sys.argv[2], home_path="/")
asyncio.run(aioftp.Server([user]).run("127.0.0.1", int(sys.argv[1])))
"""

type Places = dict[str, Place]
type Figures = dict[str, list[float]]


@contextlib.contextmanager
def run_stock(root: Path) -> Iterator[Place]:
    """Stock aioftp.Server over the same folder."""
    place = Place(free_port(), root)
    process = subprocess.Popen([sys.executable, "-c", STOCK, str(place.port), str(root)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), place.login():
                break
            time.sleep(0.05)
        yield place
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def run_places() -> Iterator[Places]:
    """All that are compared, by name. At the end clamd's log must tell that descriptors were passed."""
    with contextlib.ExitStack() as stack:
        clamd = stack.enter_context(run_clamd(CLAMD))
        vsftpd = stack.enter_context(VsftpdServer())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "policy.yaml").write_text(_policy(vsftpd.port, str(clamd.unix)))
        gateway = stack.enter_context(FtpGateway(folder / "policy.yaml", ["PLAIN", "CLAMD"]))
        places = {"vsftpd": Place(vsftpd.port, vsftpd.root)}
        places["aioftp.Server"] = stack.enter_context(run_stock(vsftpd.root))
        places["unchecked"] = Place(gateway.ports["PLAIN"], vsftpd.root)
        places["clamd"] = Place(gateway.ports["CLAMD"], vsftpd.root)
        yield places
        # It names what it was given: an unlinked file behind a descriptor, or `instream`.
        passed, streamed = clamd.log().count("(deleted): OK"), clamd.log().count("instream(")
        assert passed > FILES > streamed, f"FILDES was not chosen: {passed} by descriptor, {streamed} by stream"


def _policy(port: int, clamd: str) -> str:
    listed = proxy(port).replace("\n", "\n    ")
    unchecked = listed.replace("antivirus: [AV]", "action: accept")
    return (
        f"antivirus:\n  AV: {{protocol: clamav-net, address: '{clamd}', max-checked-size: 1900MiB, timeout: 300s,"
        " canary: off}\nspool: {max-object: 1900MiB, max-total: 1900MiB}\n"
        f"audit: {{to: '{os.devnull}'}}\ncache: {{free: 1ms, entries: 1}}\n"
        f"ftp-proxy:\n  PLAIN:\n    {unchecked}\n  CLAMD:\n    {listed}\n"
    )


def measure_large(place: Place, size: int) -> float:
    """MB per second."""
    counted = 0

    def count(data: bytes) -> None:
        nonlocal counted
        counted += len(data)

    with _session(place) as ftp:
        began = time.perf_counter()
        ftp.retrbinary("RETR large", count, blocksize=1 << 20)
        took = time.perf_counter() - began
    assert counted == size
    return size / took / MB


def measure_small(place: Place, _size: int) -> float:
    """Files per second, one session."""
    with _session(place) as ftp:
        began = time.perf_counter()
        for number in range(FILES):
            ftp.retrbinary(f"RETR small{number}", lambda _data: None)
        return FILES / (time.perf_counter() - began)


def _session(place: Place) -> ftplib.FTP:
    ftp = place.login()
    assert ftp.sock is not None
    ftp.sock.settimeout(300)
    ftp.timeout = 300
    return ftp


def measure(places: Places, rounds: int, megabytes: int) -> dict[str, Figures]:
    """Figures of every round, by what was measured and where."""
    root, size = places["vsftpd"].root, megabytes * MB
    with (root / "large").open("wb") as file:
        file.truncate(size)
    for number in range(FILES):
        (root / f"small{number}").write_bytes(os.urandom(SMALL))
    for place in places.values():
        measure_large(place, size)  # the engine's limit is still being proven when the gateway is ready
    figures: dict[str, Figures] = {"large": {}, "small": {}}
    for _ in range(rounds):
        for kind, run in (("large", measure_large), ("small", measure_small)):
            for name, place in places.items():
                figures[kind].setdefault(name, []).append(run(place, size))
    return figures


def show(figures: dict[str, Figures], rounds: int, megabytes: int) -> str:
    """The table, in Markdown."""
    names = list(figures["large"])
    lines = [
        "# ftp_cost: a file and many, in turns\n",
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors, {rounds} rounds;",
        "medians, and in brackets the medians of each round's ratios to vsftpd and to aioftp.Server. `unchecked`: the",
        "gateway, an ACL without antivirus. `clamd`: the gateway, a real clamd, by FILDES; nothing is remembered.\n",
        "| what | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for kind, title in (("large", f"{megabytes} MB (zeros), MB/s"), ("small", f"{SMALL // 1000} KB, files/s")):
        base = figures[kind]["vsftpd"]
        cells = []
        for name in names:
            ratio = median(a / b for a, b in zip(figures[kind][name], base, strict=True))
            stock = figures[kind]["aioftp.Server"]
            to_stock = median(a / b for a, b in zip(figures[kind][name], stock, strict=True))
            cells.append(f"{median(figures[kind][name]):.0f} ({ratio:.2f}, {to_stock:.2f})")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    with run_places() as places:
        table = show(measure(places, asked.rounds, asked.megabytes), asked.rounds, asked.megabytes)
    print(table)
    if asked.write:
        asked.write.write_text(table)


if __name__ == "__main__":
    main()
