"""`avsluice check FILE`: everything that is wrong with a policy, and what its author may not have meant.

Rules of this file: findings go to standard output, one a line, `file:line:col: path: text`; exit 0 with
warnings, 2 with errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from avsluice.engines import used_names
from policy.lint import lint
from policy.load import PolicyError, Problem, load_with_source
from policy.model import Builtin, Policy
from policy.section import Problems
from scanners.builtin.compilation import compile_rules
from scanners.builtin.engine import read_hashes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy file")


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings; 0 or 2."""
    try:
        warnings = find_warnings(arguments.file)
    except PolicyError as bad:
        print(bad)
        print(f"{arguments.file}: {_count(len(bad.problems), 'error')}", file=sys.stderr)
        return 2
    for warning in warnings:
        print(warning)
    print(f"{arguments.file}: no errors, {_count(len(warnings), 'warning')}", file=sys.stderr)
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def find_warnings(path: Path) -> list[Problem]:
    """The lint of a policy that loads, and whose used engines can read what it gives them, in the order of the file;
    PolicyError where it does not."""
    policy, source = load_with_source(path)
    if problems := [source.problem(loc, text) for loc, text in _find_unreadable(policy)]:
        raise PolicyError(problems)
    found = [source.problem(loc, f"warning: {text}") for loc, text in lint(policy)]
    return sorted(found, key=lambda p: (p.line, p.col, p.text))


def _find_unreadable(policy: Policy) -> Problems:
    for name in used_names(policy):
        section = policy.antivirus[name]
        if isinstance(section, Builtin):
            for key, problems in (("hashes", _judge_hashes(section)), ("yara-rules", _judge_rules(section))):
                yield from ((("antivirus", name, key), problem) for problem in problems)


def _judge_hashes(section: Builtin) -> Iterator[str]:
    try:
        if section.hashes is not None:
            read_hashes(section.hashes)
    except (ValueError, OSError) as why:
        yield str(why)


def _judge_rules(section: Builtin) -> Iterator[str]:
    try:
        if section.yara_rules is not None:
            compile_rules(section.yara_rules)
    except (ValueError, OSError) as why:
        yield from str(why).splitlines()
