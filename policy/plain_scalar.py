"""What an unquoted word of the policy file is: YAML 1.2's core schema, and nothing beyond it.

Rules of this file: `yes`, `on` and `off` are words, `true` and `false` alone are truth values.
"""

from __future__ import annotations

import re

_INT = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][-+]?\d{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def resolve_scalar(text: str, *, plain: bool) -> str | int | float | bool | None:
    """The value of a scalar; `plain` is false for what stands in quotes or in a block: always text."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
