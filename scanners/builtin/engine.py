"""The engine `builtin`.

Rules of this file: the event loop is never kept: only a small object with nothing packed in it is looked at there,
and only without YARA rules, whose cost nobody knows; everything else goes to a worker process, by descriptor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from policy.verdict import Coverage, Status
from scanners.builtin.budget import Budget
from scanners.builtin.compilation import CompiledRules
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk, is_plain
from scanners.builtin.workers import Workers
from scanners.engine import Answer, Body

SMALL = 256 * 1024
"""Bytes that are searched on the event loop: less than a millisecond."""

_HASH_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(\S.*))?")
_MAX_HASHES = 1_000_000


class Builtin:
    """Test signatures, listed SHA-256 hashes and YARA rules, inside bounded unpacking."""

    protocol = "builtin"
    coverage = Coverage.TEST_SIGNATURES
    limit_setting = "nothing: the built-in engine has no size limit of its own"

    def __init__(self, hashes: Mapping[str, str] | None = None, rules: CompiledRules | None = None) -> None:
        self._signatures = Signatures(hashes or {})
        self._rules = rules
        line = json.dumps({"hashes": dict(self._signatures.hashes)}).encode()
        self.workers = Workers(line + b"\n" + (rules.data if rules is not None else b""))

    def __str__(self) -> str:
        return "the built-in engine"

    async def ask(self, body: Body) -> Answer:
        """Have the body searched. Never raises but for cancellation, and for RuntimeError after `close`."""
        try:
            if self._rules is None and body.size <= SMALL and is_plain(body):
                return Walk(self._signatures, Budget()).scan(body)
            return await self.workers.ask(body)
        except OSError as why:
            return Answer(Status.ERROR, detail=f"the object cannot be read: {why}")

    async def version(self) -> str:
        """Changes when we do, or the rules."""
        ours = f"builtin 1/{len(self._signatures.hashes)}"
        return ours if self._rules is None else f"{ours}, {self._rules.edition}"

    async def close(self) -> None:
        """Ends the worker processes; what they are at is an `error`."""
        await self.workers.close()


def read_hashes(path: Path) -> dict[str, str]:
    """A file as sha256sum writes it: digest and, if wished, a name; `#` begins a comment.

    ValueError with file and line where it says something else, OSError where it cannot be read."""
    hashes: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for number, raw in enumerate(lines, 1):
            line = raw.partition("#")[0].strip()
            if not line:
                continue
            match = _HASH_LINE.fullmatch(line)
            if match is None or number > _MAX_HASHES:
                raise ValueError(f"{path}:{number}: not a SHA-256 digest and a name: {line!r:.80}")
            digest, name = match[1].lower(), match[2]
            hashes[digest] = name or f"Listed-SHA256.{digest[:16]}"
    return hashes
