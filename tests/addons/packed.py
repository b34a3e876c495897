"""What the decoder tests share: packers, and the short way through a decoder."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor annotations
import zstandard

from addons.body.codings import Decoder, plan

TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zstd(data: bytes, *, checksum: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum).compress(data)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd,
}


def encode(data: bytes, names: Iterable[str]) -> bytes:
    for name in names:
        data = ENCODERS[name](data)
    return data


def decode(data: bytes, names: Iterable[str], *, chunk: int = 0, limit: int = 64 * MIB) -> bytes:
    """`names` in the header's order, as `plan` would read them."""
    return drain(Decoder(plan([",".join(names)]).layers, limit), data, chunk)


def drain(decoder: Decoder, data: bytes, chunk: int = 0) -> bytes:
    out = bytearray()
    for start in range(0, len(data), chunk or len(data) or 1):
        for piece in decoder.feed(data[start : start + (chunk or len(data))]):
            assert len(piece) <= 65536
            out += piece
    decoder.finish()
    return bytes(out)
