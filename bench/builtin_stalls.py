"""How long the event loop stands still while the built-in engine looks at something large: in a thread, as it once
did, and in its worker process.

    .venv/bin/python -m bench.builtin_stalls [--rounds 5] [--write bench/engine_cost.md]

Rules of this file: both take turns in every round, on the same bytes; `--write` replaces its own section of the page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import zipfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.engine_cost import MB, show, time_once, watch_stalls
from inspection.spool import Spool, SpoolRoom
from policy.verdict import Status
from scanners.builtin.budget import Budget
from scanners.builtin.compilation import CompiledRules, compile_rules
from scanners.builtin.engine import Builtin
from scanners.builtin.service import Descriptor
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.builtin.yara import Matcher
from scanners.engine import Answer, Body

HEADING = "## The built-in engine"


def make_zip() -> Spool:
    """50 MB of zip file that unpack to 76 MB: half of it noise, half of it text that packs well."""
    spool, noise = _open_spool(), random.Random(1).randbytes(MB)  # noqa: S311  (any bytes, the same every time)

    class Sink:
        def write(self, data: bytes) -> int:
            spool.append(bytes(data))
            return len(data)

        def flush(self) -> None:
            """Nothing to do."""

    text = " ".join(str(number) for number in range(200_000)).encode()[:MB]
    with zipfile.ZipFile(Sink(), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload]  # duck-typed
        for number in range(38):
            archive.writestr(f"{number}.bin", noise)
            archive.writestr(f"{number}.txt", text)
    spool.finish()
    return spool


def make_plain() -> Spool:
    """200 MB of noise."""
    spool = _open_spool()
    part = os.urandom(MB)
    for _ in range(200):
        spool.append(part)
    spool.finish()
    return spool


def _open_spool() -> Spool:
    return SpoolRoom(memory=0).open()


def make_rules() -> CompiledRules:
    """200 YARA rules with a string and an expression each, none of which matches."""
    with tempfile.NamedTemporaryFile("w", suffix=".yar") as file:
        for n in range(200):
            strings = f'$s = "needle {n} in it" $e = /begin{n}[a-z]{{3,9}}end/'
            file.write(f"rule r{n} {{ strings: {strings} condition: any of them }}\n")
        file.flush()
        return compile_rules(Path(file.name))


class Threaded:
    """The same search in a thread, on a descriptor of its own."""

    def __init__(self, rules: CompiledRules | None = None) -> None:
        self._threads = ThreadPoolExecutor(1)
        self._rules = rules

    async def ask(self, body: Body) -> Answer:
        """As the engine."""
        descriptor = body.descriptor()
        try:
            file = Descriptor(descriptor, body.size)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._search, file)
        finally:
            os.close(descriptor)

    def _search(self, file: Descriptor) -> Answer:
        # A matcher is for one thread, from its making to its end.
        rules = Matcher(self._rules.data) if self._rules is not None else None
        return Walk(Signatures(), Budget(), rules).scan(file)

    async def close(self) -> None:
        """Ends the thread."""
        self._threads.shutdown()


async def measure(rounds: int) -> list[str]:
    """The table's lines."""
    packed, plain, rules = make_zip(), make_plain(), make_rules()
    engines: dict[str, Builtin | Threaded] = {
        "thread": Threaded(),
        "worker process": Builtin(),
        "thread, 200 YARA rules": Threaded(rules),
        "worker process, 200 YARA rules": Builtin(rules=rules),
    }
    starting = await watch_stalls(lambda: engines["worker process"].ask(packed))
    acts: dict[str, Callable[[], Awaitable[object]]] = {"nothing at all": lambda: asyncio.sleep(0.5)}
    for body, what in ((packed, "zip"), (plain, "plain")):
        for name, engine in engines.items():
            acts[f"{body.size / MB:,.0f} MB {what}, {name}"] = _make_act(engine, body)
    stalls: dict[str, list[float]] = {name: [] for name in acts}
    times: dict[str, list[float]] = {name: [] for name in acts}
    for round_ in range(rounds + 1):
        for name, act in acts.items():
            stall, time = await _watch(act)
            if round_:  # the first one starts processes and fills caches
                stalls[name].append(stall)
                times[name].append(time)
    for engine in engines.values():
        await engine.close()
    return [
        f"A check that has to start a process first: {starting:.1f} ms.",
        "",
        "| longest stall of the loop (bar: 20 ms) | ms, median | range | the search, ms | range |",
        "|---|---|---|---|---|",
        *(f"| {name} | {show(stalls[name])} | {show(times[name], 0)} |" for name in acts),
    ]


def _make_act(engine: Builtin | Threaded, body: Body) -> Callable[[], Awaitable[object]]:
    async def act() -> None:
        if (answer := await engine.ask(body)).status is not Status.FREE:
            raise RuntimeError(answer)

    return act


async def _watch(act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The longest stall and the time of it all, in milliseconds."""
    took = 0.0

    async def timed() -> None:
        nonlocal took
        took = await time_once(act)

    return await watch_stalls(timed), took


def main() -> None:
    """Measures, prints, and writes where told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    table = "\n".join(asyncio.run(measure(options.rounds)))
    load_after = os.getloadavg()[0]
    about = f"{os.cpu_count()} processors, load {load:.1f} before and {load_after:.1f} after, {options.rounds} rounds"
    command = "`.venv/bin/python -m bench.builtin_stalls --write bench/engine_cost.md`"
    note = "Threads are how it searched before; with YARA rules it never did, the rows tell what that would have been."
    section = f"{HEADING}\n\n{about}; {command}.\n{note}\n\n{table}\n"
    print(section)
    if options.write is not None:
        before = options.write.read_text().partition(HEADING)[0].rstrip("\n")
        options.write.write_text(f"{before}\n\n{section}")


if __name__ == "__main__":
    main()
