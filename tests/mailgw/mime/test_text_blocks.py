"""Where a file within a text begins: the short way finds what the pattern finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mime.text_blocks import BEGIN, find_begin

_PIECES = [
    b"begin",
    b"BEGIN",
    b" 644 ",
    b"-base64 ",
    b"=ybegin ",
    b"=yBeGin ",
    b"\n",
    b"\r\n",
    b"x",
    b" ",
    b"b",
    b"egin",
]
_HQX = [b"(This file must be converted with BinHex", b"(this FILE must be converted with binhex 4.0)", b"(This file"]


@given(st.lists(st.sampled_from(_PIECES + _HQX)).map(b"".join))
def test_every_begin_is_found(text: bytes) -> None:
    """What the pattern finds is found, at the same place and as the same kind."""
    found, expected = find_begin(text), BEGIN.search(text)
    assert (found and (found.span(), found.lastgroup)) == (expected and (expected.span(), expected.lastgroup))
