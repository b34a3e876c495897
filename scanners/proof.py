"""That an engine finds EICAR, and up to what size: the canary and the limit probe.

clamd answers OK to objects it never looked at: larger than its limits, or with its temporary directory gone,
and no command of its tells. So `free` is believed only from an engine that was shown to find EICAR by this
very transport, and only up to a size at which it did.

Rules of this file: a proof belongs to one engine object; a probe costs no memory to speak of; nothing here
waits or sleeps but for the engine's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from policy.verdict import Status
from scanners.body import MemoryBody, SparseBody
from scanners.engine import Answer, Engine
from scanners.specimens import EICAR

START_SIZE = 1024 * 1024
"""What is shown before an engine is ready: EICAR behind so much filler, or `max-checked-size` if that is
smaller."""

type _Shape = Callable[[int], SparseBody]

_BLOCK = 512
_STEPS = (1024 * 1024, 1024, 1)


class Proof:
    """What has been shown of one engine.

    Objects of at most `seen` bytes are scanned for certain, those of `unseen` bytes and more are not (None:
    no such size is known below `most`, the policy's max-checked-size). `trouble` says why the rest of the
    limit probe could not be made yet.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self.engine = engine
        self.most = most
        self.version = ""
        self.seen = -1
        self.unseen: int | None = None
        self.trouble = ""
        self._shapes: tuple[_Shape, ...] = (_bare_behind_filler, _tar_behind_filler)
        self._search: Generator[int, bool, None] | None = None
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether the fate of every size up to `most` is known."""
        return self.seen >= self.most or self.unseen == self.seen + 1

    async def show(self) -> str:
        """The proof that must stand before the engine is used. Returns why it fails, "" where it does not."""
        self.version = await self.engine.version()
        if failure := await self.show_canary():
            return failure
        self.seen = min(len(EICAR), self.most)
        size = min(START_SIZE, self.most)
        if size > self.seen:
            try:
                found = await self._probe(size)
            except _Trouble as why:
                return f"EICAR behind {size} bytes of filler: {why}"
            self._learn(size, found=found)
        return ""

    async def show_canary(self) -> str:
        """EICAR alone. Returns why the engine cannot be believed, "" where it can."""
        answer = await self.engine.ask(MemoryBody(EICAR))
        if answer.status is Status.FOUND:
            return ""
        return f"EICAR was not found but {_words(answer)}"

    async def show_more(self) -> bool:
        """One more step of the limit probe; False where there is nothing left, or it cannot be made
        (`trouble`)."""
        if self.complete:
            return False
        if self._search is None:
            self._search = search_limit(self.seen, self.unseen, self.most)
            self._next = next(self._search)
        self.trouble = ""
        try:
            found = await self._probe(self._next)
        except _Trouble as why:
            self.trouble = f"the limit probe of {self._next} bytes failed: {why}"
            return False
        self._learn(self._next, found=found)
        if not self.complete:
            self._next = self._search.send(found)
        return not self.complete

    def _learn(self, size: int, *, found: bool) -> None:
        if found:
            self.seen = max(self.seen, size)
        elif self.unseen is None or size < self.unseen:
            self.unseen = size

    async def _probe(self, size: int) -> bool:
        """Whether the engine finds EICAR at the end of an object of `size` bytes, in any shape it looks
        into."""
        for shape in self._shapes:
            answer = await self.engine.ask(shape(size))
            if answer.status is Status.FOUND:
                self._shapes = (shape,)
                return True
            if answer.status not in (Status.FREE, Status.SKIPPED):
                raise _Trouble(_words(answer))
        return False


class _Trouble(Exception):
    """A probe had no answer from which a limit could be concluded."""


def search_limit(seen: int, unseen: int | None, most: int) -> Generator[int, bool, None]:
    """Yields the sizes to try next and is sent whether EICAR was found there, until the limit is known to
    the byte.

    EICAR was found at `seen` and not at `unseen` (None: not tried). Limits are round numbers as a rule,
    therefore whole MiB are tried first, then KiB, then bytes, and one byte above each find.
    """
    if unseen is None:
        if (yield most):
            return
        unseen = most
    for step in _STEPS:
        while (middle := _between(seen, unseen, step)) is not None:
            if (yield middle):
                seen = middle
            else:
                unseen = middle
        if seen + 1 < unseen:
            if not (yield seen + 1):
                return
            seen += 1


def _between(low: int, high: int, step: int) -> int | None:
    """A multiple of `step` near the middle, strictly between; None where there is none."""
    first = (low // step + 1) * step
    if first >= high:
        return None
    return max(first, (low + high) // 2 // step * step)


def _bare_behind_filler(size: int) -> SparseBody:
    return SparseBody(size, ((size - len(EICAR), EICAR),))


def _tar_behind_filler(size: int) -> SparseBody:
    """A tar file with filler and then EICAR, for ClamAV's own database knows EICAR at the start of a file
    only."""
    if size < _BLOCK + len(EICAR):
        return SparseBody(size, ((0, EICAR),))  # no tar file is that small
    pieces: list[tuple[int, bytes]] = []
    filler = (size - 3 * _BLOCK) // _BLOCK * _BLOCK
    if filler > 0:
        pieces.append((0, tar_header(b"filler", filler)))
    start = _BLOCK + filler if filler > 0 else 0
    pieces += [(start, tar_header(b"eicar.com", len(EICAR))), (start + _BLOCK, EICAR)]
    return SparseBody(size, pieces)


def tar_header(name: bytes, size: int) -> bytes:
    """One ustar header block (POSIX.1-1988) of a plain file."""
    head = bytearray(_BLOCK)
    head[: len(name)] = name
    head[100:108] = b"0000644\0"
    head[108:124] = b"0000000\0" * 2
    head[124:136] = b"%011o\0" % size
    head[136:148] = b"%011o\0" % 0
    head[148:156] = b" " * 8
    head[156:157] = b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _words(answer: Answer) -> str:
    return f"`{answer.status}`" + (f" ({answer.detail})" if answer.detail else "")
