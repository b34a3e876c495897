"""The end of a mail, its dots, its line ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.dots import DotReader, LineEnds, stuff

ALPHABET = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\xff", b"\r\n", b"\r\n."]), max_size=24).map(
    b"".join
)


def read(wire: bytes, cuts: list[int]) -> tuple[DotReader, bytes, bytes]:
    """The reader, what it gave, and what it left, with the wire cut at `cuts`."""
    reader, given_, inbox = DotReader(), b"", bytearray()
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for start, end in pairwise(edges):
        inbox += wire[start:end]
        if not reader.done:
            given_ += reader.take(inbox)
    return reader, given_, bytes(inbox)


def every_split(wire: bytes) -> list[list[int]]:
    """No cut, one cut anywhere, a cut everywhere."""
    return [[], *([n] for n in range(len(wire))), list(range(len(wire)))]


MAILS = [
    (b".\r\n", b""),
    (b"a\r\n.\r\n", b"a\r\n"),
    (b"\r\n.\r\n", b"\r\n"),
    (b"..\r\n.\r\n", b".\r\n"),
    (b"...\r\n..a\r\n\r\n..\r\n.\r\n", b"..\r\n.a\r\n\r\n.\r\n"),
    (b"\0\x80\xff\r\n.\r\n", b"\0\x80\xff\r\n"),
    (b".a\r\n.\r\n", b"a\r\n"),
]


@pytest.mark.parametrize(("wire", "content"), MAILS)
def test_a_mail_ends_at_its_dot_wherever_the_octets_are_cut(wire: bytes, content: bytes) -> None:
    """The content is the same for every cut, and what follows the end stays."""
    for cuts in every_split(wire + b"QUIT\r\n"):
        reader, given_, left = read(wire + b"QUIT\r\n", cuts)
        assert (reader.done, given_, left, reader.line_ends.bare) == (True, content, b"QUIT\r\n", False), cuts


SMUGGLED = [
    b"a\n.\n",
    b"a\n.\r\n",
    b"a\r.\r",
    b"a\r.\r\n",
    b"a\r\n.\n",
    b"a\r\n.\r",
    b"a\r\n.\rb",
    b"a\n\n.\r\n",
    b"a\r\r\n.\r\r\n",
    b"a\r\n\0.\r\nb",
    b"a\r\n.\0\r\nb",
]


@pytest.mark.parametrize("form", SMUGGLED)
def test_nothing_but_crlf_dot_crlf_ends_a_mail(form: bytes) -> None:
    """Every other form is content, of one mail; a bare CR or LF in it is noticed at every cut."""
    wire = form + b"MAIL FROM:<evil@example.org>\r\n.\r\n"
    for cuts in every_split(wire):
        reader, given_, left = read(wire, cuts)
        assert reader.done, cuts
        assert left == b""
        assert given_.endswith(b"MAIL FROM:<evil@example.org>\r\n"), cuts
        assert reader.line_ends.bare is (b"\0" not in form), cuts


@given(ALPHABET, st.lists(st.integers(0, 60), max_size=6))
def test_what_was_stuffed_is_read_back_and_stuffed_the_same(content: bytes, cuts: list[int]) -> None:
    """Stuffing a content with whole lines and reading it gives the content, wherever either side is cut."""
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[a:b] for a, b in pairwise(edges)]
    wire = b"".join(stuff(pieces))
    assert wire == b"".join(stuff([content]))
    reader, given_, left = read(wire + b".\r\n", cuts)
    assert (reader.done, given_, left) == (True, content, b"")


def test_a_mail_without_a_last_line_end_gets_one_behind_data() -> None:
    """The dot that ends it stands on a line of its own."""
    assert b"".join(stuff([b"a\r\n.b"])) == b"a\r\n..b\r\n"
    assert b"".join(stuff([])) == b""


@given(ALPHABET, st.lists(st.integers(0, 60), max_size=6))
def test_line_ends_are_counted_the_same_at_every_cut(content: bytes, cuts: list[int]) -> None:
    """A bare CR or LF is one whatever the pieces."""
    seen = LineEnds()
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for start, end in pairwise(edges):
        seen.see(content[start:end])
    rest = content.replace(b"\r\n", b"")
    assert seen.bare is (b"\r" in rest or b"\n" in rest)
