"""The zstd frames: what is walked, and what is refused before the library sees it."""

from __future__ import annotations

import pytest
import zstandard

from addons.body.codings import Ambiguous, Undecodable
from tests.addons.packed import MIB, TEXT, decode


def test_streamed_zstd_without_size_is_read():
    """A zstd stream whose header tells no size, with flushed blocks, is read to its end."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    packed = b"".join(packer.compress(TEXT) + packer.flush(flush) for _ in range(9))
    assert decode(packed + packer.flush(), ["zstd"], chunk=100) == TEXT * 9


def test_zstd_window_above_8_mib_is_refused():
    """A window larger than HTTP allows is refused before memory is taken for it, in both header forms."""
    window = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x00, (27 - 10) << 3])
    single = bytes([0x28, 0xB5, 0x2F, 0xFD, 0xA0]) + (8 * MIB + 1).to_bytes(4, "little")
    for head in (window, single):
        with pytest.raises(Undecodable, match="window"):
            decode(head + b"\1\0\0", ["zstd"])


def test_zstd_dictionary_is_refused():
    """A frame that names a dictionary is refused, for the client's dictionary is not ours to know."""
    named = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x21, 7, 1]) + b"\1\0\0"
    with pytest.raises(Undecodable, match="dictionary"):
        decode(named, ["zstd"])


def test_zstd_block_above_128_kib_is_refused():
    """A run-length block may not announce more than 128 KiB: that is what bounds a step."""
    head = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x00, (23 - 10) << 3])
    with pytest.raises(Ambiguous, match="block"):
        decode(head + ((1 << 21 - 1) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"A", ["zstd"])


@pytest.mark.parametrize("frame", ["28b52ffd2020010000", "28b52ffd200401000028b52ffd2000010000", "28b52ffd2000050000"])
def test_zstd_frame_that_contradicts_its_header_is_refused(frame):
    """A wrong content size before an empty last block, which libzstd lets pass when streaming, is refused."""
    with pytest.raises(Ambiguous):
        decode(bytes.fromhex(frame), ["zstd"])
