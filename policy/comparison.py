"""The `size` condition: an operator and a size.

Rules of this file: the operator is always written, for a bare size could mean at least, at most or exactly.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from policy.scalars import LARGEST, parse_size

_TEXT = re.compile(r"\s*(>=|<=|>|<|=)\s*(\S.*)", re.ASCII)
_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One bound on a size in bytes; `text` is as written."""

    sign: str
    bound: int
    text: str

    def __str__(self) -> str:
        return self.text

    def holds(self, size: int) -> bool:
        """Whether a size keeps to the bound."""
        return bool(_OPERATORS[self.sign](size, self.bound))

    @property
    def lowest(self) -> int:
        """The smallest size it holds for."""
        return {">": self.bound + 1, ">=": self.bound, "=": self.bound}.get(self.sign, 0)

    @property
    def highest(self) -> int:
        """The largest size it holds for."""
        return {"<": self.bound - 1, "<=": self.bound, "=": self.bound}.get(self.sign, LARGEST)


def parse_comparison(value: object) -> Comparison:
    """From `>10MiB`, `<=2000`, `=0`; ValueError else."""
    if isinstance(value, Comparison):
        return value
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} lacks an operator; write for example ">10MiB", in quotes')
    number = match[2].strip()
    return Comparison(match[1], parse_size(int(number) if number.isdecimal() else number), str(value))


type SizeBound = Annotated[
    Comparison,
    BeforeValidator(parse_comparison),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^\s*(>=|<=|>|<|=)\s*\d", "examples": [">10MiB"]}),
]
