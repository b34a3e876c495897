"""The engine `builtin`.

Rules of this file: the event loop is never kept: only a small object with nothing packed in it is looked at
there, everything else in a thread, on a descriptor of the thread's own, so that a cancelled check leaves
nothing behind that somebody else might close.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from policy.verdict import Coverage, Status
from scanners.builtin.budget import Budget
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk, is_plain
from scanners.engine import Answer, Body

SMALL = 256 * 1024
"""Bytes that are searched on the event loop: less than a millisecond."""

_THREADS = 2
_HASH_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(\S.*))?")
_MAX_HASHES = 1_000_000


class Builtin:
    """Test signatures and listed SHA-256 hashes, inside bounded unpacking."""

    protocol = "builtin"
    coverage = Coverage.TEST_SIGNATURES
    limit_setting = "nothing: the built-in engine has no size limit of its own"

    def __init__(self, hashes: Mapping[str, str] | None = None) -> None:
        self._signatures = Signatures(hashes or {})
        self._threads: ThreadPoolExecutor | None = None

    def __str__(self) -> str:
        return "the built-in engine"

    async def ask(self, body: Body) -> Answer:
        """Have the body searched. Never raises but for cancellation, upon which the thread gives up by
        itself."""
        try:
            if body.size <= SMALL and is_plain(body):
                return Walk(self._signatures, Budget()).scan(body)
            return await self._ask_thread(body)
        except OSError as why:
            return Answer(Status.ERROR, detail=f"the object cannot be read: {why}")

    async def _ask_thread(self, body: Body) -> Answer:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sluice-builtin")
        budget = Budget()
        file = _Descriptor(body.descriptor(), body.size)
        try:
            walk = self._threads.submit(Walk(self._signatures, budget).scan, file)
        except RuntimeError:  # closed meanwhile
            file.close()
            raise
        # Also where the thread never got to it, because the engine was closed before.
        walk.add_done_callback(lambda _: file.close())
        try:
            return await asyncio.wrap_future(walk)
        finally:
            budget.stopped = True

    async def version(self) -> str:
        """Changes when we do."""
        return f"builtin 1/{len(self._signatures.hashes)}"

    async def close(self) -> None:
        """Takes no more; what the threads were given is answered still."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)


class _Descriptor:
    def __init__(self, number: int, size: int) -> None:
        self._number = number
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._number, size, offset)

    def close(self) -> None:
        os.close(self._number)


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
