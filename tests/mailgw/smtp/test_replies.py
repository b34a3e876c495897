"""Replies of a next hop, and ours."""

from __future__ import annotations

import pytest

from mailgw.smtp.replies import MAX_LINE, MAX_LINES, Reply, ReplyFault, take_reply


def test_a_reply_of_several_lines_is_taken_whole_at_every_cut() -> None:
    """Nothing is taken before its last line is there, and the octets are those that came."""
    wire = b"250-one\r\n250-\r\n250 2.1.0 three\r\n"
    for cut in range(len(wire)):
        inbox = bytearray(wire[:cut])
        assert take_reply(inbox) is None
        inbox += wire[cut:] + b"354"
        reply = take_reply(inbox)
        assert reply is not None
        assert (reply.code, reply.wire(), bytes(inbox)) == (250, wire, b"354")
        assert reply.texts == (b"one", b"", b"2.1.0 three")


@pytest.mark.parametrize(("wire", "relayed"), [(b"250\r\n", b"250\r\n"), (b"250 ok\n", b"250 ok\r\n")])
def test_short_forms_are_understood(wire: bytes, relayed: bytes) -> None:
    """A code alone, and a line that ends in LF."""
    reply = take_reply(bytearray(wire))
    assert reply is not None
    assert reply.wire() == relayed


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"199 x\r\n",
        b"600 x\r\n",
        b"25 x\r\n",
        b"2500 x\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 a\0b\r\n",
        b"250 a\rb\r\n",
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"x" * (MAX_LINE + 1),
        b"250-x\r\n" * MAX_LINES,
        b"\xb2\xb5\xb0 x\r\n",
    ],
)
def test_what_is_no_reply_is_a_fault(wire: bytes) -> None:
    """It is never guessed at, and nothing grows without bound."""
    with pytest.raises(ReplyFault):
        take_reply(bytearray(wire))


def test_a_reply_of_ours_never_holds_a_line_end() -> None:
    """Whatever text it is made of."""
    reply = Reply.make(554, "5.7.1", "found Evil\r\n250 ok\x1b\u202e", "second")
    assert reply.wire() == b"554-5.7.1 found Evil??250 ok??\r\n554 5.7.1 second\r\n"
