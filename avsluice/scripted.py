"""`avsluice test FILE CASES...`: scripted policy tests.

Rules of this file: one line a case, for a failure what came out and which ACLs were looked at; exit 0, 1
where a case failed, 2 for bad input; `--coverage` only informs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from policy.cases import Case, load_cases
from policy.load import PolicyError, load
from policy.model import Policy
from policy.source import Source
from policy.trial import Outcome, find_unreached, list_acls, try_case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE CASES... [--coverage]."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    parser.add_argument("cases", type=Path, metavar="CASES", nargs="+", help="files with cases")
    parser.add_argument("--coverage", action="store_true", help="print the ACLs that no case reached")


def run(arguments: argparse.Namespace) -> int:
    """Prints the outcomes; 0, 1 or 2."""
    try:
        policy = load(arguments.file)
        scripts = [load_cases(path) for path in arguments.cases]
        for cases, source in scripts:
            refuse_strangers(policy, cases, source)
    except PolicyError as bad:
        print(bad)
        return 2
    outcomes = [outcome for cases, source in scripts for outcome in _try_all(policy, cases, source)]
    failed = sum(not outcome.passed for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    if arguments.coverage:
        _print_coverage(policy, outcomes)
    return 1 if failed else 0


def refuse_strangers(policy: Policy, cases: tuple[Case, ...], source: Source) -> None:
    """PolicyError for every case whose gateway the policy does not have."""
    problems = []
    for n, case in enumerate(cases):
        try:
            policy.find_gateway(case.proxy)
        except LookupError as bad:
            problems.append(source.problem((n, "proxy"), str(bad)))
    if problems:
        raise PolicyError(problems)


def _try_all(policy: Policy, cases: tuple[Case, ...], source: Source) -> Iterator[Outcome]:
    for n, case in enumerate(cases):
        outcome = try_case(policy, case)
        place = source.problem((n,), "expected something else")
        print(f"ok      {case.name}" if outcome.passed else f"FAILED  {place}")
        if not outcome.passed:
            print("\n".join(describe_failure(outcome)))
        yield outcome


def describe_failure(outcome: Outcome) -> Iterator[str]:
    """What came out instead, and the whole way to it, indented."""
    for complaint in outcome.complaints:
        yield f"    {complaint}"
    for step in outcome.trace:
        yield f"      {step}"


def _print_coverage(policy: Policy, outcomes: list[Outcome]) -> None:
    every = list(list_acls(policy))
    missed = find_unreached(policy, outcomes)
    print(f"{len(every) - len(missed)} of {len(every)} ACLs reached")
    for label, layer, name in missed:
        print(f"not reached: {label} {layer} {name}")
