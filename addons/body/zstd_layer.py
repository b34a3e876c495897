"""The zstd content-coding in bounded steps (RFC 8878, window as in RFC 9659).

python-zstandard cannot bound what one call gives back, so the frames are walked here and the library is given
at most one block at a time, which is 128 KiB decoded. It verifies the checksum.

Rules of this file: the walk is a generator that asks for bytes and does no I/O; nothing but whole frames and
skippable frames is read; dictionaries are refused, for the client's is not ours to know.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import NamedTuple

import zstandard

from addons.body.coding_layers import Ambiguous, CodingError, Undecodable, pieces

WINDOW = 8 * 1024 * 1024  # RFC 9659 section 3: no larger window under this content-coding
_BLOCK = 128 * 1024  # RFC 8878 section 3.1.1.2.4
_MAGIC = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_RLE, _COMPRESSED, _RESERVED = 1, 2, 3


class _Mode(Enum):
    READ = auto()  # collect the bytes and hand them to the walk
    PASS = auto()  # give them to the library as they come
    SKIP = auto()  # drop them


class _Want(NamedTuple):
    size: int
    mode: _Mode = _Mode.READ


class ZstdLayer:
    """Takes off zstd, any number of frames; see `coding_layers.Layer`."""

    def __init__(self) -> None:
        self.plain = True
        self._seen_frame = False
        self._between_frames = True
        self._library = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._frame = self._library.decompressobj()
        self._decoded = 0  # bytes out of the current frame
        self._walk = self._frames()
        self._want = next(self._walk)
        self._got = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            part, data = data[: self._want.size], data[self._want.size :]
            self._want = self._want._replace(size=self._want.size - len(part))
            if self._want.mode is _Mode.READ:
                self._got += part
            yield from pieces(self._decode(part) if self._want.mode is _Mode.PASS else b"")
            while self._want.size == 0:
                read, self._got = bytes(self._got), bytearray()
                self._want = self._walk.send(read)

    def finish(self) -> None:
        if not self._between_frames or self._got:
            raise Ambiguous("zstd data cut before its end")

    def _frames(self) -> Generator[_Want, bytes, None]:
        while True:
            self._between_frames = True
            magic = yield _Want(4)
            self._between_frames = False
            number = int.from_bytes(magic, "little")
            self.plain = self.plain and not self._seen_frame and number == _MAGIC
            self._seen_frame = True
            if number in _SKIPPABLE:
                size = yield _Want(4)
                yield _Want(int.from_bytes(size, "little"), _Mode.SKIP)
            elif number == _MAGIC:
                yield from self._frame_from(magic)
            else:
                raise Ambiguous("no zstd frame where one should begin")

    def _frame_from(self, magic: bytes) -> Generator[_Want, bytes, None]:
        """Section 3.1.1, from behind the magic number to the end of the frame."""
        descriptor = yield _Want(1)
        flags = descriptor[0]
        if flags & 0x08:
            raise Undecodable("zstd frame with a reserved bit set")
        single = bool(flags & 0x20)
        size_bytes = (1 if single else 0, 2, 4, 8)[flags >> 6]
        rest = yield _Want((0 if single else 1) + (0, 1, 2, 4)[flags & 3] + size_bytes)
        size = _content_size(rest, size_bytes)
        _check_window(size if single else _window(rest[0]))
        self._frame, self._decoded = self._library.decompressobj(), 0
        self._decode(magic + descriptor + rest)
        yield from self._blocks()
        if flags & 0x04:
            yield _Want(4, _Mode.PASS)
        # The library lets a wrong size pass where the last block is empty.
        if not self._frame.eof or self._decoded != (size if size_bytes else self._decoded):
            raise Ambiguous("broken zstd data: the frame does not end as its header says")

    def _blocks(self) -> Generator[_Want, bytes, None]:
        """Section 3.1.1.2, up to the last block."""
        last = False
        while not last:
            head = yield _Want(3)
            self._decode(head)
            number = int.from_bytes(head, "little")
            last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
            if kind == _RESERVED or size > _BLOCK or (kind == _COMPRESSED and size == 0):
                raise Ambiguous("broken zstd data: no such block")
            yield _Want(1 if kind == _RLE else size, _Mode.PASS)

    def _decode(self, part: bytes) -> bytes:
        if not part:
            return b""
        try:
            decoded = self._frame.decompress(part)
        except zstandard.ZstdError as error:
            raise _explain(error) from error
        self._decoded += len(decoded)
        return decoded


def _content_size(rest: bytes, size_bytes: int) -> int:
    """Section 3.1.1.1.4: the last field of the header, 0 where there is none."""
    size = int.from_bytes(rest[len(rest) - size_bytes :], "little")
    return size + 256 if size_bytes == 2 else size


def _window(descriptor: int) -> int:
    """Section 3.1.1.1.2, in bytes."""
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _check_window(window: int) -> None:
    if window > WINDOW:
        raise Undecodable(f"zstd window of {window} bytes, above the {WINDOW} that HTTP allows")


def _explain(error: zstandard.ZstdError) -> CodingError:
    text = str(error).removeprefix("zstd decompressor error: ")
    if "dictionary" in text.lower():
        return Undecodable("zstd data that needs a dictionary")
    return Ambiguous(f"broken zstd data: {text}")
