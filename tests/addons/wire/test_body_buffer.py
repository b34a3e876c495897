"""The receive buffer of HTTP/1 bodies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st

from addons.wire.body_buffer import BodyBuffer

type Act = Callable[[ReceiveBuffer], object]


def _add(data: bytes | bytearray, buffer: ReceiveBuffer) -> None:
    buffer += data


_text = st.lists(st.sampled_from([b"a", b" ", b"\n", b"\r\n", b"\r\n\r\n", b"head: er"]), max_size=6).map(b"".join)
_acts = st.one_of(
    _text.map(lambda data: partial(_add, data)),
    _text.map(lambda data: partial(_add, bytearray(data))),
    st.integers(0, 20).map(lambda count: lambda buffer: buffer.maybe_extract_at_most(count)),
    st.sampled_from(
        [
            lambda buffer: buffer.maybe_extract_next_line(),
            lambda buffer: buffer.maybe_extract_lines(),
            lambda buffer: buffer.is_next_line_obviously_invalid_request_line(),
            bytes,
            bool,
            len,
        ]
    ),
)


@given(st.lists(_acts, max_size=20))
def test_it_behaves_as_h11s_own(acts: list[Act]) -> None:
    """Whatever is done to both, in whatever order, both say the same."""
    own, theirs = BodyBuffer(), ReceiveBuffer()
    for act in acts:
        assert act(own) == act(theirs)
        assert bytes(own) == bytes(theirs)


def test_a_whole_piece_is_not_copied() -> None:
    """A piece of a body comes out as the very object that went in."""
    buffer, piece = BodyBuffer(), bytes(70_000)
    buffer += piece
    assert buffer.maybe_extract_at_most(100_000) is piece
    assert not buffer
