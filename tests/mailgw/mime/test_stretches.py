"""Stretches of base64 in a text: what is passed over quickly changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mime import views, window
from scanners.body import MemoryBody

_LINES = (b"QUJD" * 19, b"QUJD" * 4, b"and", b"x:", b"", b"QUI=", b"QUJDQ" * 5, b"YWJj" * 30 + b" ", b"a b")


def _find(text: bytes) -> list[bytes]:
    return [b"".join(lines) for lines in views.find_stretches(MemoryBody(text))]


@given(
    st.lists(st.tuples(st.sampled_from(_LINES), st.sampled_from((b"\r\n", b"\n"))), max_size=40),
    st.sampled_from((7, 64, 200, 1 << 18)),
)
def test_dull_pieces_hide_nothing(lines: list[tuple[bytes, bytes]], chunk: int) -> None:
    """The same stretches are found however the text is cut into pieces, and where no piece is taken for dull."""
    text = b"".join(line + end for line, end in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "CHUNK", chunk)
        found = _find(text)
        patch.setattr(views._Base64Lines, "is_dull", lambda judge, piece: False)
        patch.setattr(window, "CHUNK", 1 << 18)
        assert found == _find(text)
