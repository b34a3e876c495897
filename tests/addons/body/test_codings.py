"""The decoder as a whole: header, stacks, bombs, and what its caller may not do."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor annotations
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.body.codings import Ambiguous, Coding, CodingError, Decoder, TooLarge, Undecodable, plan
from tests.addons.packed import ENCODERS, MIB, TEXT, decode, drain, encode, zstd


@pytest.mark.parametrize("values", [[], [""], [" , ,"], ["identity"], ["identity, IDENTITY", ""]])
def test_no_coding(values):
    """No field, an empty one and `identity` leave the body as it is, without a field for the client."""
    assert plan(values) == Coding((), passthrough=True, header=None)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_one_plain_coding_passes_through(name):
    """One field line with one canonical name lets the origin's bytes pass, blanks around it included."""
    assert plan([f" {name}\t"]) == Coding((name,), passthrough=True, header=name)


@pytest.mark.parametrize(
    "values",
    [["x-gzip"], ["GZIP"], [",gzip"], ["gzip,"], ["identity, gzip"], ["", "gzip"], ["gzip", "identity"]],
)
def test_odd_spelling_becomes_identity(values):
    """A spelling that clients read differently is decoded for them from the first byte."""
    assert plan(values) == Coding(("gzip",), passthrough=False, header=None)


def test_stack_is_taken_off_backwards():
    """Field lines join in their order, and the last coding comes off first."""
    assert plan(["gzip, deflate", "br"]) == Coding(("br", "deflate", "gzip"), passthrough=False)


def test_five_layers_are_the_limit():
    """Five codings are read, six are refused; empty items and identity do not count."""
    assert len(plan(["gzip,,identity," * 5]).layers) == 5
    with pytest.raises(Undecodable, match="more than 5"):
        plan(["gzip," * 6])


@pytest.mark.parametrize(
    "value",
    ["compress", "x-compress", "gzip;q=1", '"gzip"', "gzip br", "dcb", "gzip\x0b", "\xa0gzip", "x" * 9999],
)
def test_unknown_coding_is_refused(value):
    """Whatever is no known name raises, with a short and printable reason."""
    with pytest.raises(Undecodable, match="unknown content-coding") as caught:
        plan([value])
    assert len(str(caught.value)) < 100
    assert str(caught.value).isascii()


@settings(deadline=None, max_examples=60)
@given(
    data=st.binary(max_size=3000) | st.integers(0, 300_000).map(lambda n: b"ab" * n),
    names=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=5),
    chunk=st.sampled_from([1, 2, 3, 7, 1000, 65536]),
)
def test_any_stack_roundtrips_over_any_split(data, names, chunk):
    """What was packed comes out again, whatever the stack, however the bytes arrive."""
    packed = encode(data, names)
    assert decode(packed, names, chunk=chunk if len(packed) < 5000 else 65536) == data


def test_brotli_gives_its_last_bytes_behind_a_full_block():
    """A body whose last byte fills the decoder's block to its brim is whole, not cut."""
    data = b"ab" * 49137
    assert decode(encode(data, ["br"]), ["br"], chunk=1) == data


def test_inner_layer_is_checked_too():
    """A cut or a tail inside an inner layer is seen although the outer one is whole."""
    for inner in (gzip.compress(TEXT)[:-1], gzip.compress(TEXT) + b"x"):
        with pytest.raises(Ambiguous):
            decode(brotli.compress(inner), ["gzip", "br"])


def gzip_bomb(mebibytes: int) -> bytes:
    """A gzip stream of that many MiB of zeros, made without packing them (its checksum is never reached)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\3" + block * mebibytes


def sizes_until_too_large(decoder: Decoder, bomb: bytes) -> list[int]:
    sizes = []
    try:
        for start in range(0, len(bomb), 65536):
            sizes.extend(len(piece) for piece in decoder.feed(bomb[start : start + 65536]))
    except TooLarge:
        return sizes
    raise AssertionError("the bomb went through")


BOMBS = {
    "gzip": lambda: (("gzip",), gzip_bomb(1024)),
    "br": lambda: (("br",), brotli.compress(bytes(96 * MIB), quality=1)),
    "zstd": lambda: (("zstd",), zstandard.ZstdCompressor().compress(bytes(96 * MIB))),
    "stack": lambda: (("gzip", "br", "zstd"), zstd(brotli.compress(gzip_bomb(1024), quality=2))),
}


@pytest.mark.parametrize("kind", sorted(BOMBS))
def test_a_bomb_stops_at_the_limit(kind):
    """A bomb comes out in small pieces up to the limit and not a byte further, with flat memory."""
    names, bomb = BOMBS[kind]()
    decoder = Decoder(plan([",".join(names)]).layers, 24 * MIB)
    tracemalloc.start()
    sizes = sizes_until_too_large(decoder, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= 65536
    assert 23 * MIB < sum(sizes) <= 24 * MIB
    assert peak < 24 * MIB  # the libraries' windows are in it: 16 MiB brotli, 8 MiB zstd


def test_pieces_come_lazily():
    """Of a bomb only what was asked for is unpacked: the caller can stop after any piece."""
    decoder = Decoder(("gzip",), 1024 * MIB)
    pieces = decoder.feed(gzip_bomb(64))
    for _ in range(10):
        next(pieces)
    assert 0 < decoder.size <= 10 * 65536
    assert "open" in repr(decoder)


def test_what_decodes_to_nothing_still_lets_the_caller_breathe():
    """An outer bomb whose content the inner layer drops gives empty pieces, and stops at the bound."""
    skippable = b"\x50\x2a\x4d\x18" + (0xFFFFFF00).to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(skippable + bytes(4 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    decoder = Decoder(("gzip", "zstd"), 2 * MIB)
    sizes = sizes_until_too_large(decoder, b"\x1f\x8b\x08\0\0\0\0\0\0\3" + body)
    assert sum(sizes) == 0
    assert len(sizes) > 2 * MIB // 65536


def test_exactly_the_limit_is_allowed():
    """An object of max_output bytes passes, one byte more is too large, packed or not."""
    for names in ((), ("gzip",), ("zstd", "br")):
        assert decode(encode(b"x" * 100_000, names), names, limit=100_000) == b"x" * 100_000
        with pytest.raises(TooLarge):
            decode(encode(b"x" * 100_001, names), names, limit=100_000)


def test_an_incompressible_object_of_the_limit_passes():
    """The packed form between two layers may be larger than the object without being a bomb."""
    data = bytes((i * 2654435761 >> 13) & 0xFF for i in range(100_000))
    assert decode(encode(data, ("gzip",) * 5), ("gzip",) * 5, limit=len(data)) == data


def test_a_feed_that_was_dropped_fails_closed():
    """A decoder whose output was not drained can neither go on nor finish."""
    for drop in (lambda feed: None, next):
        decoder = Decoder(("gzip",), MIB)
        drop(decoder.feed(gzip.compress(TEXT)))
        with pytest.raises(Undecodable, match="not run to its end"):
            decoder.finish()
        with pytest.raises(Undecodable):
            decoder.feed(b"x")


def test_after_an_error_nothing_finishes():
    """Whoever swallows an error and finishes is told again."""
    decoder = Decoder(("gzip",), MIB)
    with pytest.raises(Ambiguous):
        drain(decoder, b"no gzip at all")
    with pytest.raises(CodingError):
        decoder.finish()


def test_nothing_follows_the_finish():
    """A finished decoder takes no further bytes and says so."""
    decoder = Decoder((), MIB)
    assert drain(decoder, b"abc") == b"abc"
    assert "finished" in repr(decoder)
    with pytest.raises(Undecodable, match="finished"):
        decoder.feed(b"d")
