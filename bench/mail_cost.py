"""What a check costs over SMTP: mails a second through Sluice and through what else is installed, in turns.

    .venv/bin/python -m bench.mail_cost [--parts memory,plain,small,single,large] [--rounds 3] [--write FILE]

Rules of this file: one next hop (smtp-sink) and one clamd for all, ten connections; each has shown that it blocks EICAR
before it is measured; only ratios within a round mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.mail_client import Mails, Run, measure, open_client, send_mail, shows_eicar
from bench.mail_peers import GATEWAYS, Scene, await_queue, folders, installed, run_sink
from bench.peers import Peer, family, processor_time
from tests.real.clamd_server import run_clamd

MB = 1_000_000
CONNECTIONS = 10
CLAMD = {"MaxThreads": "20", "StreamMaxLength": "200M", "MaxFileSize": "200M", "MaxScanSize": "400M"}
UNCHECKED = ("smtp-sink alone", "Postfix, no check")
PARTS = {
    "plain": ("10 KB of text, connections kept", 10_000, False),
    "small": ("10 KB with a file in base64, connections kept", 10_000, False),
    "single": ("10 KB with a file, one mail a connection", 10_000, True),
    "large": ("1 MB with a file, connections kept", MB, False),
}
BARS = {"small": {"clamsmtp": 3.0, "amavisd": 4.0, "Postfix, no check": 0.5}}
BARS |= {"plain": BARS["small"], "single": BARS["small"], "large": {"clamsmtp": 1.0, "aiosmtpd + aiosmtplib": 2.0}}
MEMORY_BAR = 96


@dataclass(slots=True)
class Figures:
    """Of one gateway and one part, a number a round."""

    rates: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    clamd: list[float] = field(default_factory=list)

    def add(self, run: Run, own: float, clamd: float) -> None:
        """One round; processor time in seconds."""
        mails = len(run.waits)
        self.rates.append(run.rate)
        self.waits.append(1000 * median(run.waits))
        self.own.append(1000 * own / mails)
        self.clamd.append(1000 * clamd / mails)


@dataclass(frozen=True, slots=True)
class Stage:
    """All that run; `scanner` is clamd's process id."""

    peers: dict[str, Peer]
    scenes: dict[str, Scene]
    scanner: int


@contextlib.contextmanager
def set_up(names: Sequence[str]) -> Iterator[Stage]:
    """The next hop, clamd, and the gateways."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(folders())
        clamd = stack.enter_context(run_clamd(CLAMD))
        clamd.directory.chmod(0o755)
        sink = stack.enter_context(run_sink(folder))
        peers, scenes = {"sink": sink}, {}
        for name in names:
            scenes[name] = scene = Scene(folder / name, str(clamd.unix), sink.port)
            scene.folder.mkdir(mode=0o755)
            peers[name] = stack.enter_context(GATEWAYS[name][0](scene))
        assert clamd._process is not None
        yield Stage(peers, scenes, clamd._process.pid)


def show_eicar(peers: dict[str, Peer]) -> list[str]:
    """What each says to EICAR; RuntimeError where one that checks lets it pass."""
    lines = []
    for peer in peers.values():
        answer = asyncio.run(shows_eicar(peer.port)).decode(errors="replace").strip()
        if answer.startswith("2") and peer.name not in UNCHECKED:
            raise RuntimeError(f"{peer.name} lets EICAR pass: {answer}")
        lines.append(f"{peer.name} `{re.sub(r'id [-0-9a-zA-Z]+', 'id ...', answer)[:60]}`")
    return lines


def run_part(part: str, stage: Stage, rounds: int, seconds: float) -> dict[str, Figures]:
    """Figures by gateway."""
    _, size, single = PARTS[part]
    mails, figures = Mails(size, plain=part == "plain"), {name: Figures() for name in stage.peers}
    for number in range(rounds + 1):
        for name, peer in stage.peers.items():
            own, scan = peer.processor_time(), processor_time(stage.scanner)
            # The first round is for warming up.
            within = seconds if number else 0.3
            run = asyncio.run(measure(peer.port, mails, CONNECTIONS, within, single=single))
            if name in stage.scenes:
                await_queue(stage.scenes[name].folder)
            if number:
                figures[name].add(run, peer.processor_time() - own, processor_time(stage.scanner) - scan)
    return figures


def tabulate(part: str, figures: dict[str, Figures], peers: dict[str, Peer]) -> list[str]:
    """One part's table, in Markdown."""
    head = "| gateway | mails/s | noise | wait, ms | processor, ms a mail | clamd's besides | Sluice to it | bar |"
    lines = [f"\n## {PARTS[part][0]}\n", head, "|---" * 8 + "|"]
    for name, found in figures.items():
        who = peers[name].name
        ratio = bar = ""
        if "sluice" in figures and name != "sluice":
            value = median(a / b for a, b in zip(figures["sluice"].rates, found.rates, strict=True))
            ratio = f"{value:.2f}"
            if (least := BARS[part].get(who)) is not None:
                bar = f"{least:g}: {'reached' if value >= least else 'MISSED'}"
        noise = (max(found.rates) - min(found.rates)) / median(found.rates)
        cells = [f"{median(found.rates):.0f}", f"{noise:.0%}", f"{median(found.waits):.1f}"]
        cells += [_cost(median(found.own)), f"{median(found.clamd):.2f}", ratio, bar]
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return lines


def _cost(own: float) -> str:
    """Processes that have ended take their time along, as Postfix's do: what is less than nothing says nothing."""
    return f"{own:.2f}" if own > 0 else "?"


def measure_memory(peer: Peer, megabytes: int = 50) -> list[str]:
    """The peak above idle for one large mail, in MB, all processes of the gateway together."""
    pids = family(peer.pids)
    asyncio.run(_send_one(peer.port, MB))
    before = sum(_status(pid, "VmRSS") for pid in pids)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    began = time.perf_counter()
    asyncio.run(_send_one(peer.port, megabytes * MB))
    took = time.perf_counter() - began
    grown = (sum(_status(pid, "VmHWM") for pid in pids) - before) * 1024 / MB
    word = "reached" if grown <= MEMORY_BAR else "MISSED"
    return [
        f"\n## A mail of {megabytes} MB\n",
        f"Sluice's peak above what it had: {grown:.1f} MB, in {took:.1f} s (bar: at most {MEMORY_BAR} MB: {word}).",
    ]


async def _send_one(port: int, size: int) -> None:
    client = await open_client(port)
    answer = await send_mail(client, Mails(size).next())
    assert answer.startswith(b"250"), answer
    client.close()


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def run_all(parts: Sequence[str], names: Sequence[str], rounds: int, seconds: float) -> str:
    """The whole page."""
    load = os.getloadavg()[0]
    with set_up(names) as stage:
        lines = [
            "# mail_cost: mails through one gateway and another, in turns\n",
            f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors,",
            f"{rounds} rounds of {seconds:g} s; medians. {CONNECTIONS} clients in this machine wait for every reply;",
            "no two mails are alike, nor are their parts. `noise`: highest less lowest round, of the",
            "median. `Sluice to it`: median of each round's ratio. Postfix has taken a mail before the next",
            "hop has it; what it sends on later counts in its processor time only.\n",
            "EICAR: " + "; ".join(show_eicar(stage.peers)) + ".",
        ]
        for part in parts:
            if part in PARTS:
                lines += tabulate(part, run_part(part, stage, rounds, seconds), stage.peers)
            elif part == "memory" and "sluice" in stage.peers:
                lines += measure_memory(stage.peers["sluice"])
        lines.append(f"\nThe machine's load: {load:.1f} before, {os.getloadavg()[0]:.1f} behind.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="memory,plain,small,single,large")
    parser.add_argument("--gateways", default=",".join(GATEWAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended all the same
    names = [name for name in asked.gateways.split(",") if installed(name)]
    page = run_all(asked.parts.split(","), names, asked.rounds, asked.seconds)
    print(page)
    if asked.write:
        asked.write.write_text(page)


if __name__ == "__main__":
    main()
