"""What is wrong with a file of ours, and where.

Rules of this file: `file:line:col: path.to.key: what is wrong, what to write instead`; all problems at once,
in the order of the file; nothing in a problem can break its line, or tell a URL's password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning. Line and column count from 1."""

    file: str
    line: int
    col: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}: {_one_line(self.path)}: {_one_line(self.text)}"


_LOGIN = re.compile(r"://(?!\[user)\S*@")


def _one_line(text: str) -> str:
    """The file's own words may hold anything: what would move a terminal's cursor is escaped, and a URL's login, which
    may stand in a wrong place, is left out."""
    hidden = _LOGIN.sub("://***@", text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in hidden)


class PolicyError(ValueError):
    """A policy or cases file that cannot be used. `problems` holds every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.line, p.col, p.path, p.text))
        super().__init__("\n".join(map(str, self.problems)))
