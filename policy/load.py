"""Reading a policy file.

Rules of this file: a policy is loaded whole or not at all; whatever is wrong comes out as a PolicyError with
every problem in it, in the order of the file; nothing here touches the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from policy.files import missing_files
from policy.model import Policy
from policy.problem import PolicyError, Problem
from policy.source import Source, read_source

__all__ = ["PolicyError", "Problem", "default_policy_path", "load", "load_with_source"]


def load(path: str | Path) -> Policy:
    """The policy in a file, to which its names are relative; PolicyError where anything is wrong."""
    return load_with_source(path)[0]


def load_with_source(path: str | Path) -> tuple[Policy, Source]:
    """As `load`, with the source, which knows where everything stands (lint needs that)."""
    path = Path(path)
    source = read_source(path)
    policy, problems = None, [*source.problems]
    try:
        policy = Policy.model_validate(source.data, context={"base": path.parent.absolute()})
    except ValidationError as bad:
        problems += [source.problem(e["loc"], e["msg"]) for e in bad.errors(include_url=False)]
    problems += _missing(source, path)
    if problems or policy is None:
        raise PolicyError(problems)
    return policy, source


def _missing(source: Source, path: Path) -> Iterator[Problem]:
    data = source.data
    if isinstance(data, Mapping):
        for loc, text in missing_files(data, path.parent):
            yield source.problem(loc, text)


def default_policy_path() -> Path:
    """The policy that holds where none is named: the tutorial that ships with us."""
    return Path(__file__).with_name("default.yaml")
