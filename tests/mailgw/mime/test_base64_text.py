"""The quick ways through base64 say what the patterns say that they stand for."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mime.base64_text import Base64Check, decode

_STRICT = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_PIECES = [b"=", b"==", b"===", b"A", b"QU", b"QUF", b"QUFB", b"zz+/09", b"*", b"-", b"\xff", b" ", b"\r\n", b"\t"]
_texts = st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join)


def _cut(text: bytes, places: list[int]) -> Iterator[bytes]:
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return (text[start:end] for start, end in pairwise(ends))


@given(_texts, st.lists(st.integers(0, 40), max_size=4))
def test_strict_is_what_the_pattern_says(text: bytes, places: list[int]) -> None:
    """However it comes in pieces, a text is strict where letters and padding at its end fill it to fours."""
    check = Base64Check()
    for piece in _cut(text, places):
        check.see(piece)
    letters = text.translate(None, b" \t\r\n")
    assert check.strict == (_STRICT.fullmatch(letters) is not None and len(letters) % 4 == 0)


@given(_texts, st.lists(st.integers(0, 40), max_size=4))
def test_pieces_make_no_difference(text: bytes, places: list[int]) -> None:
    """What is decoded does not depend on where the pieces are cut."""
    assert b"".join(decode(_cut(text, places))) == b"".join(decode([text]))


@given(_texts)
def test_padding_is_where_the_pattern_sees_it(text: bytes) -> None:
    """Fours of letters, and padding between fours, are passed over; other padding ends the text."""
    letters = re.sub(rb"[^A-Za-z0-9+/=]", b"", text)
    whole = re.compile(rb"(?:=|[^=]{4})*").match(letters)
    assert whole is not None
    rest = letters[whole.end() :].partition(b"=")[0]
    expected = binascii.a2b_base64(whole[0].replace(b"=", b""))
    expected += binascii.a2b_base64(rest.ljust(4, b"=")) if len(rest) in (2, 3) else b""
    assert b"".join(decode([text])) == expected
