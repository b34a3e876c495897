"""Scripted policy tests in pytest: `cases.yaml` and `*.cases.yaml` are collected like any test file.

`pytest examples/chapter` runs examples/chapter/cases.yaml against policy.yaml beside it; `NAME.cases.yaml` belongs to
`NAME.yaml`. A case that fails prints which ACL matched and why the earlier ones did not.

Rules of this file: it is imported by every run of pytest in this environment, so it imports nothing of ours until a
cases file is met, and it looks at a file only where both it and its policy are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from policy.cases import Case
    from policy.model import Policy


def find_policy(cases: Path) -> Path | None:
    """The policy that a cases file is about; None where it is no cases file, or stands alone."""
    if cases.name == "cases.yaml":
        policy = cases.with_name("policy.yaml")
    elif cases.name.endswith(".cases.yaml"):
        policy = cases.with_name(cases.name.removesuffix(".cases.yaml") + ".yaml")
    else:
        return None
    return policy if policy.is_file() else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Takes the cases files and leaves all else alone."""
    if find_policy(file_path) is None:
        return None
    return CasesFile.from_parent(parent, path=file_path)


class CasesFile(pytest.File):
    """One file with cases."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item a case. A file or a policy that cannot be used is a collection error with every problem."""
        from avsluice.scripted import refuse_strangers
        from policy.cases import load_cases
        from policy.load import PolicyError, load

        try:
            policy = load(find_policy(self.path) or self.path)
            cases, source = load_cases(self.path)
            refuse_strangers(policy, cases, source)
        except PolicyError as bad:
            raise self.CollectError(str(bad)) from None
        for n, case in enumerate(cases):
            line = source.problem((n,), "").line
            yield CaseItem.from_parent(self, name=case.name, case=case, policy=policy, line=line)


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, policy: Policy, line: int, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]  # pytest hands name and parent through from_parent
        self._case, self._policy, self._line = case, policy, line

    def runtest(self) -> None:
        """Judges the case; raises CaseFailedError with the trace where it comes out otherwise."""
        from avsluice.scripted import describe_failure
        from policy.trial import try_case

        outcome = try_case(self._policy, self._case)
        if not outcome.passed:
            raise CaseFailedError("\n".join(describe_failure(outcome)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:  # type: ignore[override]  # plain text
        """The trace alone: a Python traceback says nothing about a policy."""
        if isinstance(excinfo.value, CaseFailedError):
            return f"{self.path}:{self._line}: {self.name}\n{excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands, line counted from 0."""
        return self.path, self._line - 1, self.name


class CaseFailedError(AssertionError):
    """A case came out otherwise than expected."""
