"""Ways to pack bytes, by the libraries and independent of the code under test."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import brotli
import zstandard

from tests.http import samples

Packer = Callable[[bytes], bytes]


def raw_deflate(data: bytes) -> bytes:
    """RFC 1951 without a wrapper, as some servers send it for `deflate`."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def gzipped(data: bytes) -> bytes:
    """One gzip member without a time stamp."""
    return gzip.compress(data, mtime=0)


# The name of the rule, the token of the header, the packer.
CODERS: dict[str, tuple[str, Packer]] = {
    "gzip": ("gzip", gzipped),
    "zlib": ("deflate", zlib.compress),
    "raw": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
}


def gzip_with(field: bytes, flag: int, data: bytes) -> bytes:
    """A gzip member with an optional field (RFC 1952 2.3.1) in front of the data."""
    plain = gzipped(data)
    return plain[:3] + bytes([flag]) + plain[4:10] + field + plain[10:]


def gzip_extra(data: bytes, hidden: bytes) -> bytes:
    """gzip whose FEXTRA holds other bytes, which no reader decodes."""
    field = b"zz" + len(hidden).to_bytes(2, "little") + hidden
    return gzip_with(len(field).to_bytes(2, "little") + field, 4, data)


def gzip_comment(data: bytes, hidden: bytes) -> bytes:
    """gzip whose FCOMMENT holds other bytes (no NUL among them)."""
    return gzip_with(hidden.replace(b"\0", b"") + b"\0", 16, data)


def zstd_skippable(data: bytes, hidden: bytes) -> bytes:
    """zstd behind a skippable frame (RFC 8878 3.1.2) that holds other bytes."""
    frame = (0x184D2A50).to_bytes(4, "little") + len(hidden).to_bytes(4, "little") + hidden
    return frame + zstandard.compress(data)


def brotli_metadata(data: bytes, hidden: bytes) -> bytes:
    """brotli that begins with a metadata block (RFC 7932 section 9.2) of other bytes, which no decoder shows."""
    # From the lowest bit: a window of 64 KiB (0), not the last (0), metadata (11), reserved (0), bytes of size.
    size = (len(hidden) - 1).bit_length() + 7 >> 3
    kind = 0b11 << 2 | size << 5 | (len(hidden) - 1) << 7
    plain = (len(data) - 1) << 3 | 1 << 19  # not the last (0), four nibbles of size (00), uncompressed (1)
    return kind.to_bytes(size + 1, "little") + hidden + plain.to_bytes(3, "little") + data + b"\3"


ARCHIVES: dict[str, Packer] = {
    "zip": samples.zipped,
    "zip in zip": lambda data: samples.zipped(data, depth=2),
    "gz": gzipped,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "tar.gz": samples.tarred,
    "docx": samples.docx,
}
