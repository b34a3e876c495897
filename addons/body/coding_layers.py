"""One decoder a content-coding, each in bounded steps: gzip, deflate, brotli (zstd is in `zstd_layer`).

Rules of this file: a layer reads exactly what its format's own document allows (RFC 1950, 1951, 1952, 7932,
8878) and raises on anything else; one step takes at most the bytes it is fed and gives at most PIECE
bytes; every step yields, be it b"", so that the caller can breathe. Layers keep no output.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator
from typing import Protocol

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor annotations

PIECE = 64 * 1024


class CodingError(ValueError):
    """The content-coding stands in the way of a check; the text says why, in words fit for a block page."""


class Ambiguous(CodingError):
    """Two readers could see two different objects: bad checksum, cut stream, bytes after the end."""


class Undecodable(CodingError):
    """We cannot read it: unknown coding, too many layers, broken data, too large a window."""


class TooLarge(CodingError):
    """The decoded object is larger than the caller's limit."""


class Layer(Protocol):
    """One coding, being taken off. After an exception a layer is of no more use."""

    plain: bool
    """False once some readers would see less than we do, having stopped at the first member or frame, or more,
    having decoded nothing."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of at most PIECE bytes, some of them empty; to be drained before the next call."""

    def finish(self) -> None:
        """Raises `Ambiguous` where the stream is cut. No bytes at all are an empty object, not a cut one."""


def pieces(data: bytes) -> Iterator[bytes]:
    """The data in pieces of at most PIECE bytes; of no data, one empty piece."""
    yield data[:PIECE]
    for start in range(PIECE, len(data), PIECE):
        yield data[start : start + PIECE]


def _inflate(inflater: zlib._Decompress, data: bytes, name: str) -> Iterator[bytes]:
    while True:
        try:
            piece = inflater.decompress(data, PIECE)
        except zlib.error as error:
            raise Ambiguous(f"broken {name} data: {error}") from error
        data = inflater.unconsumed_tail
        yield piece
        # A full piece may have more behind it inside zlib, even when all input is consumed.
        if inflater.eof or (not data and len(piece) < PIECE):
            return


class GzipLayer:
    """RFC 1952, with any number of members; header, CRC-32 and length are verified by zlib."""

    def __init__(self) -> None:
        self.plain = True
        self._members = 0
        self._head = b""
        self._inflater: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._look_at_head(data)
        while data:
            if self._inflater is None:
                self._begin(data)
            inflater = self._inflater or zlib.decompressobj(31)
            self._inflater = inflater
            yield from _inflate(inflater, data, "gzip")
            if not inflater.eof:
                return
            data, self._inflater = inflater.unused_data, None

    def _look_at_head(self, data: bytes) -> None:
        """Where an extra field or a comment (RFC 1952 section 2.3.1) may hold what no decoder shows, readers that do
        not decode would see more than we do."""
        if len(self._head) < 4:
            self._head += data[: 4 - len(self._head)]
            self.plain = self.plain and not (len(self._head) == 4 and self._head[3] & 0x16)

    def _begin(self, data: bytes) -> None:
        self._members += 1
        if self._members > 1:
            if data[0] != 0x1F:
                raise Ambiguous("bytes after the end of the gzip data")
            self.plain = False

    def finish(self) -> None:
        if self._inflater is not None:
            raise Ambiguous("gzip data cut before its end")


class DeflateLayer:
    """`deflate` as RFC 9110 8.4.1.2 means it (zlib, RFC 1950), and raw (RFC 1951) as some servers send it."""

    def __init__(self) -> None:
        self.plain = True
        self._head = b""
        self._inflater: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        missing = 5 - len(self._head)
        self._head += data[:missing]
        if self._inflater is None:
            if len(self._head) < 2:
                yield b""
                return
            data = self._head + data[missing:]
            self._inflater = zlib.decompressobj(15 if self._looks_zlib() else -15)
        if missing > 0 and self._reads_both_ways():
            raise Ambiguous("deflate data that reads as zlib and as raw")
        if self._inflater.eof:
            raise Ambiguous("bytes after the end of the deflate data")
        yield from _inflate(self._inflater, data, "deflate")
        if self._inflater.unused_data:
            raise Ambiguous("bytes after the end of the deflate data")

    def _looks_zlib(self) -> bool:
        cmf, flags = self._head[:2]
        return cmf & 0x0F == 8 and cmf >> 4 <= 7 and (cmf << 8 | flags) % 31 == 0

    def _reads_both_ways(self) -> bool:
        # To a raw reader every zlib header begins a stored block, whose length stands twice (RFC 1951 3.2.4).
        if len(self._head) < 5 or not self._looks_zlib():
            return False
        length, complement = struct.unpack("<HH", self._head[1:])
        return bool(length ^ complement == 0xFFFF)

    def finish(self) -> None:
        if self._head and (self._inflater is None or not self._inflater.eof):
            raise Ambiguous("deflate data cut before its end")


class BrotliLayer:
    """RFC 7932. The format has no checksum: what the decoder accepts is what was meant."""

    def __init__(self) -> None:
        self.plain = True
        self._fed = False
        self._decoder = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._decoder.is_finished():
            raise Ambiguous("bytes after the end of the brotli data")
        self._fed = True
        decoder = self._decoder
        more = yield from self._process(data)
        # A block that was filled to its brim may leave a rest inside, although the decoder would take more.
        while not decoder.is_finished() and (more or not decoder.can_accept_more_data()):
            more = yield from self._process(b"")

    def _process(self, data: bytes) -> Generator[bytes, None, bool]:
        """Decode; the result tells whether anything came out."""
        try:
            decoded: bytes = self._decoder.process(data, output_buffer_limit=PIECE // 2)
        except brotli.error as error:
            # The library says the same of bytes behind the end and of broken data.
            raise Ambiguous("broken brotli data, or bytes after its end") from error
        yield from pieces(decoded)
        return bool(decoded)

    def finish(self) -> None:
        if self._fed and not self._decoder.is_finished():
            raise Ambiguous("brotli data cut before its end")
