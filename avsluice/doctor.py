"""`avsluice doctor FILE`: shows EICAR, plain and zipped, and a clean object to each engine that a gateway uses, and
sends them through each gateway that runs.

Rules of this file: the tables go to standard output, what is to be done about it to standard error; exit 0 where
every engine and every gateway does its work, 1 where one does not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import policy as sluice
from avsluice.consequence import find_consequences, find_leaks
from avsluice.diagnosis import Finding, examine
from avsluice.doctor_arguments import add_words, read_means
from avsluice.engines import find_uses, open_engines, started, used_names
from avsluice.passages.passage import Passage
from avsluice.passages.round import Means, find_doubts, find_troubles, make_rows, visit_gateways
from avsluice.progress import telling
from avsluice.table import align
from policy.load import PolicyError
from policy.model import Policy
from policy.verdict import Coverage, Status
from scanners.antivirus import Antivirus

_HEAD = (
    *("ANTIVIRUS", "PROTOCOL", "ENGINE", "VERSION", "PROVEN", "LIMIT"),
    *("EICAR", "IN MS", "ZIPPED", "IN MS", "CLEAN", "IN MS"),
)
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, and what gateways need to be tried."""
    add_words(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables; 0, 1 or 2."""
    try:
        policy = sluice.load(arguments.file)
        means = read_means(policy, arguments)
        # What must not be missing is told below, together with everything else.
        lenient = policy.model_copy(update={"require_real_engine": False})
        antiviruses = open_engines(lenient, used_names(policy))
    except (PolicyError, ValueError, OSError) as bad:
        print(bad, file=sys.stderr)
        return 2
    (findings, told), passages = asyncio.run(_ask_all(policy, antiviruses, means))
    problems = [*find_problems(policy, findings), *(Problem(*trouble) for trouble in find_troubles(passages))]
    warnings = [*_leave_out(told, findings), *find_warnings(policy, findings), *find_doubts(passages)]
    if arguments.json:
        plain = {"engines": [f.as_plain() for f in findings], "gateways": [p.as_plain() for p in passages]}
        print(json.dumps({**plain, "problems": [asdict(p) for p in problems], "warnings": warnings}, indent=2))
    else:
        _print_all(findings, passages, problems, warnings)
    return 1 if problems else 0


async def _ask_all(
    policy: Policy, antiviruses: dict[str, Antivirus], means: Means
) -> tuple[tuple[list[Finding], list[str]], list[Passage]]:
    """First the engines: gateways need them, too."""
    found = await diagnose(policy, antiviruses)
    return found, await visit_gateways(policy, means)


async def diagnose(policy: Policy, antiviruses: dict[str, Antivirus]) -> tuple[list[Finding], list[str]]:
    """The findings in the order of the sections, and what the engines' keepers warned of meanwhile."""
    told: list[str] = []
    with telling(told.append):
        async with started(antiviruses.values()):
            found = await asyncio.gather(*(examine(a, policy.antivirus[name]) for name, a in antiviruses.items()))
    return [finding for findings in found for finding in findings], told


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a gateway from its work, or from protecting anybody; `consequences` at which, and how."""

    text: str
    consequences: tuple[str, ...] = ()


def find_problems(policy: Policy, findings: list[Finding]) -> Iterator[Problem]:
    """One for each endpoint that does not do its work, and where there is no real engine but one is required."""
    uses = find_uses(policy)
    for finding in findings:
        if not finding.well:
            consequences = find_consequences(finding, findings, uses)
            yield Problem(f"{finding.antivirus}: {_complain(finding)}", tuple(consequences))
        elif leaks := tuple(find_leaks(finding, findings, uses)):
            yield Problem(_complain_of_archives(finding), leaks)
    if policy.require_real_engine and findings and not any(f.coverage is Coverage.FULL for f in findings):
        yield Problem("require-real-engine is set, but there are test signatures only: no gateway will start")


def _complain(finding: Finding) -> str:
    if not finding.proven and finding.failure:
        return finding.failure if finding.engine in finding.failure else f"{finding.engine}: {finding.failure}"
    if finding.eicar is not Status.FOUND:
        return f"{finding.engine}: EICAR was not found but `{finding.eicar}`{_bracket(finding.eicar_detail)}"
    return f"{finding.engine}: a clean object was not free but `{finding.clean}`{_bracket(finding.clean_detail)}"


def _complain_of_archives(finding: Finding) -> str:
    detail = _bracket(finding.zipped_detail)
    return f"{finding.antivirus}: {finding.engine}: EICAR in a zip archive was not found but `{finding.zipped}`{detail}"


def _bracket(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _leave_out(told: list[str], findings: list[Finding]) -> Iterator[str]:
    """Each warning once, and none that says what a problem says."""
    said = tuple(f"{finding.engine} cannot be used" for finding in findings if not finding.well)
    return (text for text in dict.fromkeys(told) if not text.startswith(said))


def find_warnings(policy: Policy, findings: list[Finding]) -> Iterator[str]:
    """What works, but not as its owner may think; limits too low are told by the engines' keepers themselves."""
    uses = find_uses(policy)
    for finding in findings:
        if finding.well and not finding.unpacks and not any(find_leaks(finding, findings, uses)):
            yield _complain_of_archives(finding)
        if finding.proven and not finding.limit_known:
            size = _spell_size(finding.limit)
            yield f"{finding.antivirus}: {finding.engine}: its limit is not known yet; shown so far: {size}"
        if finding.coverage is Coverage.TEST_SIGNATURES:
            what = "recognises EICAR and GTUBE and NO REAL VIRUS; install ClamAV's clamd"
            yield f"{finding.antivirus}: {finding.engine} {what}"


def _print_all(findings: list[Finding], passages: list[Passage], problems: list[Problem], warnings: list[str]) -> None:
    tables = [align([_HEAD, *map(_row, findings)])] if findings else []
    tables += [align(make_rows(passages))] if passages else []
    print("\n\n".join("\n".join(table) for table in tables), end="\n" if tables else "", flush=True)
    if not findings:
        print("no enabled gateway uses an antivirus", file=sys.stderr)
    for problem in problems:
        print(f"problem: {problem.text}", *(f"    {text}" for text in problem.consequences), sep="\n", file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _row(finding: Finding) -> tuple[str, ...]:
    limit = _spell_size(finding.limit)
    if finding.limit is not None:
        limit = f"{'' if finding.limit_known else 'at least '}{limit} of {_spell_size(finding.max_checked_size)}"
    return (
        finding.antivirus,
        finding.protocol,
        finding.engine,
        finding.version or "-",
        "yes" if finding.proven else "NO",
        limit,
        *_spell_infected(finding.eicar, finding.eicar_ms),
        *_spell_infected(finding.zipped, finding.zipped_ms),
        "free" if finding.clean is Status.FREE else f"NOT FREE: {finding.clean}",
        f"{finding.clean_ms:.1f}",
    )


def _spell_infected(status: Status, ms: float) -> tuple[str, str]:
    return "found" if status is Status.FOUND else f"NOT FOUND: {status}", f"{ms:.1f}"


def _spell_size(size: int | None) -> str:
    """As the policy has it, exact."""
    if size is None:
        return "-"
    return next((f"{size // unit}{name}" for unit, name in _UNITS if size and size % unit == 0), str(size))
