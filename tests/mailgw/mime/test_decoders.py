"""The decoders of bodies and of blocks in texts."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.mime import base64_text, quoted_printable, text_blocks
from mailgw.mime.window import Window
from scanners.body import MemoryBody
from tests.mailgw.corpus import encodings

_SETTINGS = settings(max_examples=150, deadline=None, database=None, derandomize=True)
_TEXT = st.lists(
    st.sampled_from([b"QUJD", b"QQ==", b"=", b"!", b"\r\n", b"A", b" ", b"==", b"-_", b"=4", b"=41", b"\n", b"=\r\n"])
)
Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]
_DECODERS: list[Decoder] = [
    base64_text.decode,
    *base64_text.LENIENT.values(),
    quoted_printable.decode,
    quoted_printable.decode_with_blanks,
    quoted_printable.decode_without_broken,
]


@pytest.mark.parametrize("decode", _DECODERS)
def test_pieces(decode: Decoder) -> None:
    """However the bytes are divided into pieces, what is decoded is the same."""

    @_SETTINGS
    @given(_TEXT, st.integers(1, 5))
    def check(parts: list[bytes], size: int) -> None:
        data = b"".join(parts)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(decode(pieces)) == b"".join(decode([data]))

    check()


@_SETTINGS
@given(st.binary(), st.integers(1, 80))
def test_base64(data: bytes, width: int) -> None:
    """What is well-formed is strict, and is decoded alike in every way."""
    letters = base64.b64encode(data)
    text = b"\r\n".join(letters[at : at + width] for at in range(0, len(letters), width))
    check = base64_text.Base64Check()
    check.see(text)
    assert check.strict
    for decode in (base64_text.decode, *base64_text.LENIENT.values()):
        assert b"".join(decode([text])) == data


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (b"==QUJD", b"ABC"),
        (b"QQ==QUJD", b"A"),
        (b"QU!JD", b"ABC"),
        (b"QQ=\r\n=", b"A"),
        (b"QUI", b"AB"),
        (b"Q", b""),
        (b"", b""),
    ],
)
def test_odd_base64(text: bytes, decoded: bytes) -> None:
    """Junk and early padding are skipped, other padding ends it."""
    assert b"".join(base64_text.decode([text])) == decoded


@pytest.mark.parametrize("text", [b"=QUJD", b"QQ==QUJD", b"QU!JD", b"QUI", b"QQ===", b"QQ=", b"QUJD\0"])
def test_base64_that_is_not_strict(text: bytes) -> None:
    """Foreign characters, and padding that is missing, early or too much, are seen."""
    check = base64_text.Base64Check()
    check.see(text)
    assert not check.strict


@_SETTINGS
@given(st.text().map(lambda text: text.replace("\r", "").encode()))
def test_quoted_printable(data: bytes) -> None:
    """What Python encodes is strict, and is decoded again."""
    text = quopri.encodestring(data).replace(b"\n", b"\r\n")
    check = quoted_printable.QuotedPrintableCheck()
    check.see(text)
    assert check.strict
    assert b"".join(quoted_printable.decode([text])).replace(b"\r\n", b"\n") == data


@pytest.mark.parametrize("text", [b"=ZZ", b"a=b", b"= \r\n", b"=4", b"==41", b"=\r"])
def test_quoted_printable_that_is_not_strict(text: bytes) -> None:
    """An escape that is none is seen, also at the end and with blanks behind it."""
    check = quoted_printable.QuotedPrintableCheck()
    check.see(text + (b"" if text == b"=4" else b"x"))
    assert not check.strict


@pytest.mark.parametrize(
    ("kind", "encode"), [("uu", encodings.uu), ("yenc", encodings.yenc), ("binhex", encodings.binhex)]
)
def test_blocks(kind: str, encode: Callable[[bytes], bytes]) -> None:
    """A block's bytes are decoded, and its begin is recognised."""
    data = bytes(range(120)) + b"a word"
    first, *lines = encode(data).splitlines(keepends=True)
    match = text_blocks.BEGIN.match(first)
    assert match is not None
    assert match[kind]
    assert data in b"".join(text_blocks.DECODERS[kind](lines))


def test_uu_without_trailing_blanks() -> None:
    """Blanks that were cut off at the ends of lines are put back."""
    assert b"".join(text_blocks.decode_uu([b"#86)C\n", b"#\n", b"end\n", b"#86)C\n"])) == b"abc\0\0\0"


def test_binhex_runs() -> None:
    """RFC 1741's run lengths are expanded, and its escaped 0x90 is one byte."""
    assert text_blocks._expand(b"A\x90\x04B\x90\x00C", final=True) == (b"AAAAB\x90C", b"")


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256 * 1024 - 2, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1])
def test_dashes_at_the_edge_of_a_window(size: int) -> None:
    """A line of two hyphens is found wherever it lies, also across the edges of what is read at once."""
    filler = (b"x" * max(0, size - 1) + b"\n") if size else b""
    window = Window(MemoryBody(filler + b"--b\r\nrest"))
    assert window.find_dashes(0) == size
    assert window.line(size) == (b"--b\r\n", size + 5)
    assert window.find_dashes(size + 5) == -1
