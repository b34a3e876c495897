"""`avsluice scan PATH...`: asks the engines about files.

Rules of this file: results go to standard output in the order of the names, one line each, everything else to
standard error; exit 0 where everything was free, 1 where anything was found, 2 otherwise; without a proven engine
nothing is scanned.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import sys
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import policy as sluice
from avsluice.engines import open_engines, started, used_names
from avsluice.file_body import FileBody
from avsluice.file_report import FileReport, spell_json, spell_line
from avsluice.file_tree import Entry, walk
from avsluice.progress import Progress, telling
from policy.load import PolicyError, default_policy_path
from policy.model import Policy
from policy.section import suggest
from policy.verdict import Merge, ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.panel import check_document

_BATCH = 256
_WINDOW = 1000
"""Files whose results may wait for that of one before them."""

_MOST_IN_FLIGHT = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PATH... and which engines are asked."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a directory with everything in it")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the policy file; without one the engine is `auto`")
    text = "an antivirus section of the policy; may be repeated. Without it: those that the gateways use"
    parser.add_argument("--antivirus", action="append", metavar="NAME", help=text)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Prints one line a file; 0, 1 or 2."""
    try:
        policy = sluice.load(arguments.policy or default_policy_path())
        antiviruses = open_engines(policy, choose_names(policy, arguments.antivirus))
        scan = Scan(policy, list(antiviruses.values()), wants_digest=arguments.json)
        return asyncio.run(_scan(scan, arguments.paths, spell_json if arguments.json else spell_line))
    except (PolicyError, ValueError, LookupError) as bad:
        print(bad, file=sys.stderr)
        return 2


def choose_names(policy: Policy, asked: Sequence[str] | None) -> list[str]:
    """The sections to ask: those named, else those that enabled gateways use, else all. LookupError where there
    is none, or none of that name."""
    known = list(policy.antivirus)
    for name in asked or ():
        if name not in known:
            raise LookupError(f"no antivirus is named {name}; {suggest(name, known)}")
    names = list(asked or used_names(policy) or known)
    if not names:
        raise LookupError("the policy names no antivirus")
    return names


async def _scan(scan: Scan, paths: Sequence[str], spell: Callable[[FileReport], str]) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name is never a reason to stop
    with Progress(sys.stderr) as progress, telling(progress.tell):
        async with started(scan.antiviruses):
            if failures := list(_find_unproven(scan.antiviruses)):
                progress.tell("\n".join(failures))
                return 2
            for banner in dict.fromkeys(a.banner for a in scan.antiviruses if a.banner):
                progress.tell(banner)
            counts = await _print_reports(scan, paths, spell, progress)
        progress.tell(_sum_up(counts))
    return judge(counts)


async def _print_reports(
    scan: Scan, paths: Sequence[str], spell: Callable[[FileReport], str], progress: Progress
) -> Counter[Status]:
    counts: Counter[Status] = Counter()
    shared = sys.stdout.isatty()
    async with _counting(paths, progress), contextlib.aclosing(scan.reports(walk(paths))) as reports:
        progress.draw()
        async for report in reports:
            counts[report.status] += 1
            progress.done, progress.found = counts.total(), counts[Status.FOUND]
            if shared:
                progress.clear()
            print(spell(report), flush=True)
            progress.draw()
    return counts


def _find_unproven(antiviruses: Iterable[Antivirus]) -> Iterator[str]:
    """Why has been told already, as a warning."""
    for antivirus in antiviruses:
        if not any(endpoint.proven for endpoint in antivirus.endpoints):
            yield f"antivirus {antivirus.name} was not shown to find EICAR: nothing is scanned"


def judge(counts: Counter[Status]) -> int:
    """The exit status: 0 all free, 1 something found, 2 otherwise."""
    if counts[Status.FOUND]:
        return 1
    return 0 if counts.total() == counts[Status.FREE] else 2


def _sum_up(counts: Counter[Status]) -> str:
    return ", ".join(f"{counts[s]} {s}" for s in Status if counts[s]) or "there were no files"


@contextlib.asynccontextmanager
async def _counting(paths: Sequence[str], progress: Progress) -> AsyncIterator[None]:
    """For a bar the files are counted while they are scanned, in a thread that ends with the block."""
    stop = threading.Event()

    def count() -> None:
        total = 0
        for _ in walk(paths):
            total += 1
            if stop.is_set():
                return
        progress.total = total

    # Held here, and awaited.
    counting = asyncio.get_running_loop().create_task(asyncio.to_thread(count)) if progress.shown else None
    try:
        yield
    finally:
        stop.set()
        if counting is not None:
            await asyncio.wait([counting])


class Scan:
    """Asks `antiviruses`, which somebody else started, about files; several at a time. What several engines say is
    merged strictly: `free` only where each says so."""

    def __init__(self, policy: Policy, antiviruses: Sequence[Antivirus], *, wants_digest: bool = False) -> None:
        self.antiviruses = antiviruses
        self._wants_digest = wants_digest
        # More would wait inside, at the expense of their `timeout`.
        room = min((policy.antivirus[a.name].concurrency for a in antiviruses), default=1)
        self._slots = asyncio.Semaphore(min(room, _MOST_IN_FLIGHT))

    async def reports(self, entries: Iterator[Entry]) -> AsyncGenerator[FileReport]:
        """One for each entry, in their order. Closing it ends the checks under way."""
        loop = asyncio.get_running_loop()
        waiting: deque[asyncio.Task[FileReport]] = deque()
        try:
            while batch := await asyncio.to_thread(lambda: list(islice(entries, _BATCH))):
                for entry in batch:
                    waiting.append(loop.create_task(self._report_in_turn(entry)))
                while waiting and (waiting[0].done() or len(waiting) > _WINDOW):
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _report_in_turn(self, entry: Entry) -> FileReport:
        async with self._slots:
            return await self.report(entry)

    async def report(self, entry: Entry) -> FileReport:
        """What the engines say of one entry. Raises nothing but cancellation."""
        if entry.special:
            return FileReport(path=entry.path, status=Status.SKIPPED, detail=f"it is {entry.special}")
        if entry.trouble:
            return FileReport(path=entry.path, status=Status.ERROR, detail=entry.trouble)
        began = asyncio.get_running_loop().time()
        try:
            body = await asyncio.to_thread(FileBody, entry.path, follow=entry.named)
        except OSError as why:
            return FileReport(path=entry.path, status=Status.ERROR, detail=why.strerror or str(why))
        with body:
            status, reports = await check_document(self.antiviruses, body, Merge.STRICT)
            detail, sha256 = _choose_detail(status, reports), None
            try:
                if self._wants_digest and status is not Status.SKIPPED:
                    sha256 = await body.hash()
                changed = await asyncio.to_thread(body.changed)
            except OSError as why:
                changed, detail = True, why.strerror or str(why)
            if changed and status is not Status.FOUND:
                status, detail, sha256 = Status.ERROR, "it changed while it was scanned", None
        virus = next((r.virus for r in reports if r.status is Status.FOUND), None)
        ms = 1000 * (asyncio.get_running_loop().time() - began)
        return FileReport(
            path=entry.path,
            status=status,
            virus=virus,
            detail=detail,
            size=body.size,
            sha256=sha256,
            reports=reports,
            ms=ms,
        )


def _choose_detail(status: Status, reports: Sequence[ScanReport]) -> str:
    return next((r.detail for r in reports if r.status is status and r.detail), "")
