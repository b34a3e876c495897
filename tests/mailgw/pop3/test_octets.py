"""What is read off the wire, at every place where it may be cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.dots import DotReader, stuff
from mailgw.pop3.capabilities import filter_capabilities
from mailgw.pop3.commands import BadCommand, parse_command, read_number, read_top
from mailgw.pop3.logins import SaslName
from mailgw.pop3.replies import MAX_LINE, MAX_LIST_LINE, ListReader, ReplyFault, refuse, take_reply
from mailgw.pop3.top import measure_top
from scanners.body import MemoryBody

LIST = b"1 100\r\n2 200\r\n.\r\n"
_WIRE = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"\0", b"\xff", b"b" * 300])).map(b"".join)


@pytest.mark.parametrize("cut", range(len(LIST) + 1))
def test_a_list_is_relayed_as_it_came(cut: int) -> None:
    """In two pieces as in one, and nothing behind it is taken."""
    reader, inbox = ListReader(), bytearray(LIST[:cut])
    out = reader.take(inbox)
    if not reader.done:
        inbox += LIST[cut:]
        out += reader.take(inbox + b"")
        inbox.clear()
    inbox += b"+OK"
    assert (out, reader.done) == (LIST, True)
    assert inbox.endswith(b"+OK")


def test_an_empty_list_is_its_dot() -> None:
    """And what follows stays."""
    reader, inbox = ListReader(), bytearray(b".\r\n+OK\r\n")
    assert reader.take(inbox) == b".\r\n"
    assert reader.done
    assert inbox == b"+OK\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_list_line_is_bounded(size: int) -> None:
    """However it comes."""
    reader = ListReader()
    fine = (MAX_LIST_LINE - 10) // size
    for _ in range(fine):
        reader.take(bytearray(b"x" * size))
    with pytest.raises(ReplyFault):
        reader.take(bytearray(b"x" * (MAX_LIST_LINE - fine * size + 1)))


@settings(max_examples=300, database=None, derandomize=True)
@given(_WIRE, st.integers(1, 9))
def test_a_mail_that_was_stuffed_comes_back_octet_for_octet(mail: bytes, size: int) -> None:
    """Whatever is in it; it ends in a line end, as POP3 has it."""
    mail += b"\r\n"
    wire = b"".join(stuff([mail])) + b".\r\n+OK"
    dots, inbox, out = DotReader(), bytearray(), b""
    for at in range(0, len(wire), size):
        inbox += wire[at : at + size]
        if not dots.done:
            out += dots.take(inbox)
    assert dots.done
    assert out == mail
    assert b"+OK".startswith(bytes(inbox)) or bytes(inbox) == b"+OK"


@pytest.mark.parametrize("line", [b"+OK", b"-ERR", b"+OK 1 2", b"-ERR [IN-USE] x", b"+OK \xff\xfe a * b"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_status_line_is_taken_whole(line: bytes, end: bytes) -> None:
    """Not before its end is there."""
    inbox = bytearray()
    for octet in line + end[:-1]:
        inbox.append(octet)
        assert take_reply(inbox) is None
    inbox += end[-1:] + b"next"
    reply = take_reply(inbox)
    assert reply is not None
    assert (reply.wire(), inbox) == (line + b"\r\n", b"next")
    assert reply.good is line.startswith(b"+OK")


@pytest.mark.parametrize(
    "line", [b"+OKAY", b"+ok", b"", b".", b"* OK", b"+OK a\0b", b"+OK a\rb", b"+ abc", b"x" * MAX_LINE]
)
def test_what_is_no_status_line_is_a_fault(line: bytes) -> None:
    """It is never guessed at."""
    with pytest.raises(ReplyFault):
        take_reply(bytearray(line + b"\r\n"))


@pytest.mark.parametrize("line", [b"+ YWJj", b"+ ", b"+"])
def test_a_challenge_is_one_amid_a_login(line: bytes) -> None:
    """And nowhere else."""
    reply = take_reply(bytearray(line + b"\r\n"), login=True)
    assert reply is not None
    assert reply.challenge
    assert not reply.good


def test_a_reply_of_ours_is_one_line() -> None:
    """Whatever a virus is called."""
    assert refuse("found a\r\n+OK b\x1b[0m", code="SYS/TEMP").wire() == b"-ERR [SYS/TEMP] found a??+OK b?[0m\r\n"
    assert len(refuse("x" * 10_000).wire()) < 512


@settings(max_examples=300, database=None, derandomize=True)
@given(st.binary(max_size=60))
def test_no_line_of_a_client_becomes_two(line: bytes) -> None:
    """What goes on holds no line end and no NUL."""
    try:
        command = parse_command(line + b"\r\n")
    except BadCommand:
        return
    assert not re.search(rb"[\r\n\0]", command.line)


def test_a_password_keeps_its_blanks() -> None:
    """Of other commands the blanks around an argument go."""
    assert parse_command(b"pass  a b \r\n").line == b"PASS  a b "
    assert parse_command(b"RETR  7 \n").line == b"RETR 7"
    assert read_number(parse_command(b"RETR 007\r\n")) == 7
    assert read_top(parse_command(b"TOP 1 0\r\n")) == (1, 0)


def test_capabilities_are_those_that_we_vouch_for() -> None:
    """In the server's order; STLS is ours to add, logins may have to wait for it."""
    lines = [b"TOP", b"USER", b"SASL plain GSSAPI", b"utf8", b"LANG", b"STLS", b"EXPIRE 60", b"X", b"SASL NTLM", b""]
    assert filter_capabilities(lines, stls=False, logins=True) == [b"TOP", b"USER", b"SASL PLAIN", b"EXPIRE 60"]
    assert filter_capabilities(lines, stls=True, logins=False) == [b"TOP", b"EXPIRE 60", b"STLS"]


@pytest.mark.parametrize(
    ("mechanism", "responses", "name"),
    [
        ("PLAIN", [b"AGFubgBw"], "ann"),
        ("LOGIN", [b"YW5u", b"cHc="], "ann"),
        ("CRAM-MD5", [b"YW5uIDBhMWI="], "ann"),
        ("SCRAM-SHA-256", [b"biwsbj1hPTJDbm4scj1hYmM="], "a,nn"),
        ("OAUTHBEARER", [b"bixhPWFubixob3N0PXgBAQ=="], "ann"),
        ("PLAIN", [b"*", b"!"], None),
        ("SCRAM-SHA-1", [b"YWJj"], None),
    ],
)
def test_who_logs_in_is_read_from_the_responses(mechanism: str, responses: list[bytes], name: str | None) -> None:
    """The mailbox's name, where there is one besides the person's."""
    seen = SaslName(mechanism)
    for response in responses:
        seen.see(response)
    assert seen.name == name


_TOP_MAILS = [
    b"",
    b"A: b\r\n",
    b"A: b\r\n\r\n",
    b"A: b\r\n\r\n1\r\n2\r\n\r\n4\r\n",
    b"\r\n1\r\n2\r\n",
    b"A: b\r\n\r\n\r\n\r\nx\r\n",
]


@pytest.mark.parametrize("mail", [*_TOP_MAILS, b"A: b\r\n" * 60_000 + b"\r\n" + b"line\r\n" * 90_000])
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 50_000, 10**12])
def test_top_is_the_header_and_so_many_lines(mail: bytes, lines: int) -> None:
    """Counted as a simpler program would."""
    head, empty, body = mail.partition(b"\r\n\r\n") if not mail.startswith(b"\r\n") else (b"", b"\r\n", mail[2:])
    counted = body.split(b"\r\n")
    rest = b"\r\n".join(counted[:lines]) + (b"\r\n" if 0 < lines < len(counted) else b"")
    expected = head + empty + rest if lines else head + empty
    assert measure_top(MemoryBody(mail), lines) == len(expected)
