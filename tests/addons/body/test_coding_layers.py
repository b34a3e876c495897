"""Each coding alone: what it reads, and that no cut, tail or flipped bit passes as data."""

from __future__ import annotations

import gzip
import zlib

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor annotations
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.body.codings import Ambiguous, CodingError, Decoder
from tests.addons.packed import ENCODERS, MIB, TEXT, decode, drain, encode, raw_deflate, zstd


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_no_bytes_are_an_empty_object(name):
    """A body of no bytes is empty under every coding, as in the reply to HEAD."""
    assert decode(b"", [name]) == b""


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_packed_nothing_is_an_empty_object(name):
    """An empty object that was packed comes out empty."""
    assert decode(encode(b"", [name]), [name], chunk=1) == b""


def test_raw_deflate_is_read():
    """`deflate` without the zlib wrapper is what some servers send and all clients read."""
    for data in (b"", b"a", TEXT):
        assert decode(raw_deflate(data), ["deflate"], chunk=1) == data


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("gzip", b"".join(gzip.compress(member, mtime=0) for member in (b"one ", b"", b"two"))),
        ("zstd", zstd(b"one ") + zstd(b"", checksum=False) + zstd(b"two")),
        ("zstd", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(b"one two") + b"\x5f\x2a\x4d\x18\0\0\0\0"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 10_000])
def test_members_are_joined_and_told(name, packed, chunk):
    """Several members or frames make one object, and `plain` says that some readers see only the first."""
    decoder = Decoder([name], MIB)
    assert drain(decoder, packed, chunk) == b"one two"
    assert not decoder.plain


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_one_member_is_plain(name):
    """A body that all readers understand alike is plain."""
    decoder = Decoder([name], MIB)
    drain(decoder, encode(TEXT, [name]))
    assert decoder.plain


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_cut_is_seen(name):
    """A stream that ends early at whatever byte is ambiguous, never a shorter object."""
    packed = encode(TEXT, [name])
    for end in range(1, len(packed)):
        with pytest.raises(Ambiguous):
            decode(packed[:end], [name])


@pytest.mark.parametrize("name", [*sorted(ENCODERS), "raw"])
@pytest.mark.parametrize("tail", [b"x", b"\0" * 600, TEXT, b"\x1f"])
@pytest.mark.parametrize("chunk", [0, 1])
def test_bytes_after_the_end_are_seen(name, tail, chunk):
    """Whatever follows the end of the packed data makes it ambiguous, in the same piece or a later one."""
    packed = raw_deflate(TEXT) if name == "raw" else encode(TEXT, [name])
    with pytest.raises(Ambiguous):
        decode(packed + tail, ["deflate" if name == "raw" else name], chunk=chunk)


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_wrong_checksum_is_seen(name):
    """A body whose checksum does not match is ambiguous: clients show it, with or without a word."""
    packed = bytearray(encode(TEXT, [name]))
    packed[-5 if name == "gzip" else -1] ^= 1
    with pytest.raises(Ambiguous, match=r"check|checksum"):
        decode(bytes(packed), [name])


UNCHECKED = {"br": brotli.compress, "raw": raw_deflate, "zstd": lambda data: zstd(data, checksum=False)}


def reference(name: str, data: bytes) -> bytes:
    if name == "br":
        return bytes(brotli.decompress(data))
    if name == "raw":
        return zlib.decompress(data, -15)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_no_flipped_bit_changes_the_meaning(name):
    """With a checksum in the format, a flipped bit either raises or changes nothing of the object."""
    packed = encode(TEXT, [name])
    raised = 0
    for bit in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert decode(bytes(flipped), [name]) == TEXT
        except CodingError:
            raised += 1
    assert raised > len(packed) * 4


@pytest.mark.parametrize("name", ["br", "raw", "zstd"])
def test_without_checksum_we_agree_with_the_reference(name):
    """Where the format has no checksum, a flipped stream is read as the format's own library reads it."""
    packed = UNCHECKED[name](TEXT)
    accepted = 0
    for bit in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            ours = decode(bytes(flipped), ["deflate" if name == "raw" else name])
        except CodingError:
            continue
        assert ours == reference(name, bytes(flipped))
        accepted += 1
    assert accepted < len(packed) * 8


@settings(deadline=None, max_examples=300)
@given(data=st.binary(min_size=1, max_size=200), name=st.sampled_from(sorted(ENCODERS)))
def test_garbage_raises_nothing_else(data, name):
    """Bytes that nobody packed raise a CodingError and no other exception."""
    magic = {"gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3", "zstd": b"\x28\xb5\x2f\xfd"}.get(name, b"")
    for body in (data, magic + data):
        try:
            got = decode(body, [name], chunk=3)
        except CodingError:
            continue
        assert isinstance(got, bytes)


def test_deflate_that_reads_both_ways_is_refused():
    """A body that is zlib to one reader and a raw stored block to another is ambiguous."""
    length = 0x01  # the zlib FLG byte, and to a raw reader the low byte of the stored length
    packed = bytes([0x78, length, 0x00, length ^ 0xFF, 0xFF]) + b"A" * 30
    with pytest.raises(Ambiguous, match="as zlib and as raw"):
        decode(packed, ["deflate"])
    with pytest.raises(Ambiguous):
        decode(packed, ["deflate"], chunk=1)


@pytest.mark.parametrize(
    ("flags", "field", "plain"), [(4, b"\3\0abc", False), (16, b"abc\0", False), (8, b"a.txt\0", True)]
)
def test_bytes_that_no_decoder_shows_are_told(flags, field, plain):
    """A gzip extra field or comment may hold what a client that decodes nothing would see; a file's name may not."""
    packed = gzip.compress(TEXT, mtime=0)
    for chunk in (1, 3, 1000):
        decoder = Decoder(["gzip"], MIB)
        data = packed[:3] + bytes([flags]) + packed[4:10] + field + packed[10:]
        assert drain(decoder, data, chunk) == TEXT
        assert decoder.plain is plain
