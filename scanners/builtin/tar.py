"""Members of a tar file, in sequence.

Rules of this file: every member's data are looked at, whatever its type; headers are believed only with a
right checksum. Source: POSIX.1-2017 pax, and GNU tar's manual.
"""

from __future__ import annotations

from collections.abc import Iterator

from scanners.builtin.budget import Budget, Damaged, Unseen
from scanners.builtin.stream import CHUNK, Stream

BLOCK = 512
_EXTENDED = b"xXg"
_GNU_SPARSE = b"S"
_PAX_PEEK = 64 * 1024


def is_header(block: bytes) -> bool:
    """Whether it is a tar header by its checksum."""
    if len(block) < BLOCK or not block[0]:
        return False
    try:
        said = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return said == sum(block[:148]) + sum(block[156:BLOCK]) + 8 * 32


def members(stream: Stream, budget: Budget) -> Iterator[Stream]:
    """Each member's data. A member is read to its end before the next is given."""
    while block := stream.read(BLOCK):
        if not any(block):
            continue
        if not is_header(block):
            raise Damaged("a tar header is damaged, or something follows the end")
        budget.enter()
        size = _size(block)
        kind = block[156:157]
        if kind and kind in _GNU_SPARSE:
            raise Unseen("a sparse member of a tar file")
        data = Stream(_data(stream, size))
        if kind and kind in _EXTENDED and b" size=" in data.peek(min(size, _PAX_PEEK)):
            raise Unseen("a tar file with sizes in extended headers")
        yield data
        for _ in data.rest():
            pass
        stream.read(-size % BLOCK)


def _size(block: bytes) -> int:
    field = block[124:136]
    if field[0] & 0x80:
        return int.from_bytes(field) & ~(0xFF << 88)
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise Damaged("a tar header without a size") from None


def _data(stream: Stream, size: int) -> Iterator[bytes]:
    while size:
        part = stream.read(min(size, CHUNK))
        if not part:
            raise Damaged("a tar file is cut short")
        size -= len(part)
        yield part
