"""The walk through an object and everything packed in it.

Rules of this file: every layer is searched as it is, before and besides being unpacked; the first signature
ends the walk; what could not be looked at is kept as a reason, and only a walk without reasons is `free`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Protocol

from policy.verdict import Status
from scanners.builtin import tar, zip
from scanners.builtin.budget import MAX_DEPTH, Budget, Damaged, Excess, Unseen
from scanners.builtin.inflate import inflate, open_bzip2, open_gzip, open_xz
from scanners.builtin.stream import CHUNK, Found, Signatures, Stream, sift
from scanners.engine import Answer

_GZIP, _XZ, _BZIP2 = b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh"
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
_MEMORY = 1024 * 1024
HEAD = tar.BLOCK


class Rules(Protocol):
    """Whoever looks at a layer as a whole; `scanners.builtin.yara.Matcher` does."""

    def match(self, layer: bytes | str, seconds: float) -> str | None:
        """The name of what is found in the bytes, or in the file at that path. Excess where it takes longer."""


class _Spooled:
    """A layer that must be read at any place: memory first, then an unlinked file."""

    def __init__(self, file: tempfile.SpooledTemporaryFile[bytes], size: int) -> None:
        self._file = file
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def fileno(self) -> int:
        self._file.flush()
        return self._file.fileno()


def is_plain(file: zip.Seekable) -> bool:
    """Whether there is nothing to unpack in it; reads its beginning and its end."""
    return not _opens(file.read(0, HEAD)) and not zip.has_directory(file) and zip.find_front(file) is None


def _opens(head: bytes) -> str:
    """The kind of packing that begins so; "" for none."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_XZ):
        return "xz"
    if head.startswith(_BZIP2) and head[4:10] in _BZIP2_BLOCKS:
        return "bzip2"
    if head.startswith(zip.LOCAL):
        return "zip"
    return "tar" if tar.is_header(head) else ""


class Walk:
    """One object's scan; blocking, so for a process of its own unless the object is small and plain, and there are no
    rules."""

    def __init__(self, signatures: Signatures, budget: Budget, rules: Rules | None = None) -> None:
        self._signatures = signatures
        self._budget = budget
        self._rules = rules
        self._reasons: list[Exception] = []

    def scan(self, file: zip.Seekable) -> Answer:
        """Everything in the file. OSError where it cannot be read."""
        try:
            self._look(_chunks(file, self._budget), 0, file)
        except Found as found:
            return Answer(Status.FOUND, virus=found.name)
        except Excess as why:
            return Answer(Status.SKIPPED, detail=str(why))
        if not self._reasons:
            return Answer(Status.FREE)
        damaged = [r for r in self._reasons if isinstance(r, Damaged)]
        status = Status.UNKNOWN if damaged else Status.SKIPPED
        return Answer(status, detail=str((damaged or self._reasons)[0]))

    def _look(self, chunks: Iterator[bytes], depth: int, file: zip.Seekable | None = None) -> None:
        """One layer and all below it; `file` where it can be read at any place."""
        if self._rules is None:
            self._search(chunks, depth, file)
        elif file is not None:
            self._match(self._rules, file)
            self._search(chunks, depth, file)
        else:
            with tempfile.SpooledTemporaryFile(max_size=_MEMORY, prefix="sluice-") as copy:
                self._search(self._copied(chunks, copy), depth)
                self._match(self._rules, _Spooled(copy, copy.tell()))

    def _copied(self, chunks: Iterator[bytes], copy: IO[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._budget.copy(len(chunk))
            copy.write(chunk)
            yield chunk

    def _match(self, rules: Rules, file: zip.Seekable) -> None:
        self._budget.tick()
        if file.size > _MEMORY and (descriptor := getattr(file, "fileno", None)) is not None:
            layer: bytes | str = f"/dev/fd/{descriptor()}"
        else:
            layer = file.read(0, file.size)
        if name := rules.match(layer, self._budget.left()):
            raise Found(name)

    def _search(self, chunks: Iterator[bytes], depth: int, file: zip.Seekable | None = None) -> None:
        stream = Stream(sift(chunks, self._signatures))
        try:
            kind = _opens(stream.peek(HEAD))
            if not kind and file is not None:
                file = file if zip.has_directory(file) else zip.find_front(file)
                kind = "zip" if file is not None else ""
            if kind and depth >= MAX_DEPTH:
                raise Unseen(f"packed more than {MAX_DEPTH} times")
            self._open(kind, stream, depth + 1, file)
            _drain(stream)
        except (Unseen, Damaged) as why:
            self._reasons.append(why)
            self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        try:
            _drain(stream)
        except (Unseen, Damaged) as why:
            self._reasons.append(why)

    def _open(self, kind: str, stream: Stream, depth: int, file: zip.Seekable | None) -> None:
        match kind:
            case "gzip":
                self._look(inflate(stream, open_gzip, self._budget, magic=_GZIP), depth)
            case "xz":
                self._look(inflate(stream, open_xz, self._budget, magic=_XZ), depth)
            case "bzip2":
                self._look(inflate(stream, open_bzip2, self._budget, magic=_BZIP2), depth)
            case "tar":
                for member in tar.members(stream, self._budget):
                    self._look(member.rest(), depth)
            case "zip":
                self._open_zip(stream, depth, file)

    def _open_zip(self, stream: Stream, depth: int, file: zip.Seekable | None) -> None:
        if file is not None:
            _drain(stream)
            self._look_into_zip(file, depth)
            return
        with tempfile.SpooledTemporaryFile(max_size=_MEMORY, prefix="sluice-") as spool:
            size = sum(spool.write(part) for part in stream.rest())
            self._look_into_zip(_Spooled(spool, size), depth)

    def _look_into_zip(self, file: zip.Seekable, depth: int) -> None:
        for member in zip.members(file, self._budget):
            self._look(member.rest(), depth)


def _chunks(file: zip.Seekable, budget: Budget) -> Iterator[bytes]:
    offset = 0
    while part := file.read(offset, CHUNK):
        budget.tick()
        offset += len(part)
        yield part
    if offset != file.size:
        raise OSError(f"{offset} bytes could be read of {file.size}")


def _drain(stream: Stream) -> None:
    for _ in stream.rest():
        pass
