"""`avsluice check FILE`: everything that is wrong with a policy, and what its author may not have meant.

Rules of this file: findings go to standard output, one a line, `file:line:col: path: text`; exit 0 with
warnings, 2 with errors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from policy.lint import lint
from policy.load import PolicyError, Problem, load_with_source


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
    """The lint of a policy that loads, in the order of the file; PolicyError where it does not."""
    policy, source = load_with_source(path)
    found = [source.problem(loc, f"warning: {text}") for loc, text in lint(policy)]
    return sorted(found, key=lambda p: (p.line, p.col, p.text))
