"""Globs, case-insensitive: `*` any run of characters, `?` one, `[abc]` one of these.

Rules of this file: all globs of one condition are compiled once into a set of plain words and one expression;
fnmatch's translation of stars is atomic, so a long text cannot make matching explode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

_WILD = re.compile(r"[*?\[]")


def compile_globs(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that tells whether any of the globs matches the whole text."""
    folded = [p.casefold() for p in patterns]
    words = frozenset(p for p in folded if not _WILD.search(p))
    wild = [translate(p) for p in folded if _WILD.search(p)]
    if not wild:
        return lambda text: text.casefold() in words
    match = re.compile("|".join(wild)).match
    return lambda text: (key := text.casefold()) in words or match(key) is not None


def is_glob(pattern: str) -> bool:
    """Whether the text holds a wildcard."""
    return _WILD.search(pattern) is not None
