"""The pages that users read, and the commands on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
_CODE = re.compile(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[\s|(])(?:\.venv/bin/)?avsluice ([a-z]+(?: [^#\n|>]*)?)")


def codes(page: Path) -> Iterator[str]:
    """Every stretch of code on a page; of an example policy its comments."""
    text = page.read_text()
    if page.suffix == ".yaml":
        yield from (line.lstrip("# ").split("; ")[0] for line in text.splitlines() if line.lstrip().startswith("#"))
        return
    for block, inline in _CODE.findall(text):
        yield from block.splitlines() if block else [inline]
    yield from _INDENTED.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def commands(page: Path) -> Iterator[str]:
    """What stands behind `avsluice` in it, without those that only show the form (`[--option]`, `a | b`, `...`)."""
    for code in codes(page):
        for command in _COMMAND.findall(code):
            if not re.search(r"[\[\]|]|\.\.\.", code):
                yield command.strip()
