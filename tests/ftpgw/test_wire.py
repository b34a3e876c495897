"""Lines and replies."""

import pytest

from ftpgw.wire import ENCODING, Command, ReplyReader, decode, encode, make_reply, parse_command


@pytest.mark.parametrize("name", [b"plain", "příliš".encode(), b"\xc3", b"\xe0\xff x ", b"caf\xe9"])
def test_names_are_byte_transparent(name: bytes) -> None:
    """Whatever bytes a name has, they come out again, also through the codec that aioftp is given."""
    assert encode(decode(name)) == name
    assert name.decode(ENCODING).encode(ENCODING) == name


def test_spaces_belong_to_the_name() -> None:
    """Only the line's end is taken off."""
    assert parse_command(b"retr  a b \r\n") == Command("RETR", " a b ")


@pytest.mark.parametrize("raw", [b"\xff\xf4\xff\xf2ABOR\r\n", b"\xffABOR\r\n".replace(b"\xff", b"\xff\xf4"), b"ABOR\n"])
def test_telnet_is_taken_out(raw: bytes) -> None:
    """What Telnet puts before an urgent ABOR is no part of it."""
    assert parse_command(raw) == Command("ABOR")


@pytest.mark.parametrize("argument", ["a\rb", "a\0b", "a\nb"])
def test_what_ends_a_line_for_somebody(argument: str) -> None:
    """CR, LF and NUL in an argument are no clean command."""
    assert not Command("RETR", argument).is_clean


def test_a_password_is_not_shown() -> None:
    """Neither the word nor its length."""
    assert str(Command("PASS", "secret")) == "PASS ***"


def test_a_reply_ends_at_its_code_and_a_space() -> None:
    """Lines that begin with digits or with another code are part of a reply of several lines."""
    reader = ReplyReader()
    lines = [b"220-hello\r\n", b"2024 is a good year\r\n", b"220-more\r\n", b"221 not yet\r\n"]
    assert [reader.feed(line) for line in lines] == [None] * 4
    reply = reader.feed(b"220 end\r\n")
    assert reply is not None
    assert (reply.code, len(reply.lines)) == (220, 5)


def test_nonsense_is_no_reply() -> None:
    """A peer that speaks something else is told from one that speaks FTP."""
    with pytest.raises(ValueError, match="no reply"):
        ReplyReader().feed(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_reply_without_end_is_bounded() -> None:
    """So many lines and no more."""
    reader = ReplyReader()
    for _ in range(ReplyReader.MAX_LINES):
        assert reader.feed(b"220-x\r\n") is None
    with pytest.raises(ValueError, match="does not end"):
        reader.feed(b"220-x\r\n")


def test_our_replies_are_one_reply() -> None:
    """Nothing in a text can end the line that it stands in."""
    assert make_reply(550, "a\r\n226 b").text == "550 a 226 b\r\n"
