"""FETCH as it is asked and as it is answered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.imap.commands import BadCommand, parse_command
from mailgw.imap.fetch import FetchRequest, FetchResponse, NotUnderstood, Octets, parse_request, parse_response
from mailgw.imap.units import Bounds, Literal, Unit, UnitReader

BOUNDS = Bounds(lines=1 << 20, memory=1 << 20, literals=100)


def unit_of(data: bytes) -> Unit:
    """One unit."""

    def keep(unit: Unit, literal: Literal) -> None:
        literal.body = bytearray()

    unit = UnitReader(BOUNDS, keep).take(bytearray(data))
    assert unit is not None
    return unit


def ask(text: bytes) -> FetchRequest:
    """A request."""
    return parse_request(parse_command(unit_of(b"a " + text + b"\r\n")))


def answer(text: bytes) -> FetchResponse:
    """A response."""
    response = parse_response(unit_of(text + b"\r\n"))
    assert response is not None
    return response


@pytest.mark.parametrize(
    "items",
    [
        b"BODY[]",
        b"body.peek[]",
        b"BODY[1]",
        b"BODY[2.3.TEXT]",
        b"BODY[TEXT]<0.10>",
        b"(FLAGS BODY[1]<3.4> UID)",
        b"BINARY[1]",
        b"BINARY.PEEK[]<0.9>",
        b"RFC822",
        b"RFC822.TEXT",
        b"(RFC822.SIZE RFC822)",
        b"(UID BODY[HEADER] BODY[2])",
    ],
)
def test_contents_are_known_as_such(items: bytes) -> None:
    """Every way to ask for a body, alone or among others."""
    assert ask(b"FETCH 1:* " + items).bodies


@pytest.mark.parametrize(
    "items",
    [
        b"ALL",
        b"FULL",
        b"FAST",
        b"(FLAGS)",
        b"(UID RFC822.SIZE MODSEQ)",
        b"ENVELOPE",
        b"BODY",
        b"BODYSTRUCTURE",
        b"RFC822.HEADER",
        b"BODY[HEADER]",
        b"BODY.PEEK[2.HEADER]",
        b"BODY[1.MIME]",
        b"BINARY.SIZE[1.2]",
        b'BODY[HEADER.FIELDS (To "a ] b" {2+}\r\ncc)]',
        b"BODY[2.HEADER.FIELDS.NOT (To)]<0.5>",
        b"(FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])",
    ],
)
def test_what_is_no_content_is_not_checked(items: bytes) -> None:
    """Flags, sizes, structures, headers."""
    assert not ask(b"UID FETCH 1,3:5 " + items).bodies


@pytest.mark.parametrize(
    "text",
    [
        b"FETCH",
        b"FETCH 1",
        b"FETCH x FLAGS",
        b"FETCH 1 PREVIEW",
        b"FETCH 1 (PREVIEW (LAZY))",
        b"FETCH 1 X-GM-RAW",
        b"FETCH 1 BODY[",
        b"FETCH 1 BODY[x]",
        b"FETCH 1 BODY[1.FOO]",
        b"FETCH 1 BODY[0]",
        b"FETCH 1 (FLAGS  UID)",
        b"FETCH 1 (FLAGS)(UID)",
        b"FETCH 1 FLAGS UID",
        b"FETCH 1 ()",
        b"FETCH 1 (FLAGS) (PARTIAL 1:2)",
        b"FETCH 1 ANNOTATION (/* value)",
        b"FETCH 1 BODY[]<1>",
        b"FETCH 1 CONVERT.BODY[1]",
    ],
)
def test_what_is_not_understood_is_refused(text: bytes) -> None:
    """An item that we could not police never reaches the server."""
    with pytest.raises(BadCommand):
        ask(text)


def test_a_set_is_narrowed_as_the_client_narrows_it() -> None:
    """CHANGEDSINCE is asked with; VANISHED is not, its answer is the client's own command's."""
    request = ask(b"UID FETCH 1:* (FLAGS BODY[]) (CHANGEDSINCE 7 VANISHED)")
    assert (request.uid, request.set, request.since) == (True, b"1:*", b"CHANGEDSINCE 7")
    assert ask(b"FETCH $ BODY[]").set == b"$"


def test_values_are_found_wherever_they_stand() -> None:
    """Literals, quoted strings, NIL, lists with quotes and literals in them."""
    response = answer(
        b'* 12 FETCH (FLAGS (\\Seen) ENVELOPE ("a ) ( b" {4}\r\n) {1 NIL ((NIL)))'
        b' BODY[1]<5> "q\\"x" BODY[] {3}\r\nabc BODY[HEADER.FIELDS (SUBJECT {2}\r\nTo)] {1}\r\nz BINARY[2] NIL UID 77)'
    )
    assert (response.number, response.uid) == (12, 77)
    assert [(item.name, item.section, item.origin) for item in response.bodies] == [
        (b"BODY", b"1", 5),
        (b"BODY", b"", None),
        (b"BINARY", b"2", None),
    ]
    values = [response.value(item) for item in response.bodies]
    assert [value.read(0, 99) if value else None for value in values] == [b'q"x', b"abc", None]


def test_values_are_replaced_in_place() -> None:
    """All else keeps its octets."""
    response = answer(b'* 1 FETCH (UID 3 BODY[1] "q" BODY[] {3}\r\nabc FLAGS ())')
    first, second = response.bodies
    out = b"".join(response.pieces({first: Octets(b"X"), second: Octets(b"YYY")}))
    assert out == b"* 1 FETCH (UID 3 BODY[1] {1}\r\nX BODY[] {3}\r\nYYY FLAGS ())\r\n"
    assert b"".join(response.pieces({})) == b"".join(response.unit.pieces())


def test_what_the_server_adds_is_told_apart() -> None:
    """Flags and MODSEQ are the client's, what we asked for is not, and contents never are."""
    response = answer(b"* 1 FETCH (UID 3 RFC822.SIZE 9 FLAGS (\\Seen) MODSEQ (5) BODY[] {1}\r\nx)")
    rest = response.without(frozenset({b"UID", b"RFC822.SIZE"}))
    assert rest is not None
    assert rest.texts == [b"* 1 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (5))\r\n"]
    assert answer(b"* 1 FETCH (UID 3)").without(frozenset({b"UID"})) is None


@pytest.mark.parametrize(
    "text",
    [
        b"* 1 FETCH BODY[] {1}\r\nx",
        b"* 1 FETCH (BODY[] {-1}",
        b"* 1 FETCH (BODY[] x",
        b"* 1 FETCH (X-BODY[] {1}\r\nx)",
        b'* 1 FETCH (PREVIEW "x")',
        b"* 1 FETCH (FLAGS (\\Seen)",
        b'* 1 FETCH (BODY[9.FOO] "x")',
        b"* 1 FETCH (ENVELOPE " + b"(" * 100_000,
        b"* 1 FETCH ()",
        b"* 1 FETCH (UID 1) BODY[] x",
    ],
)
def test_an_answer_that_is_not_understood_is_told(text: bytes) -> None:
    """Whoever gets it leaves it out; depth costs nothing."""
    with pytest.raises(NotUnderstood):
        parse_response(unit_of(text + b"\r\n"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80).filter(lambda text: not {0, 10, 13} & set(text)))
def test_noise_is_understood_or_not(text: bytes) -> None:
    """Nothing else is raised; what is understood comes out as it went in."""
    unit = Unit.line(b"* 1 FETCH (" + text)
    try:
        response = parse_response(unit)
    except NotUnderstood:
        return
    assert response is not None
    assert b"".join(response.pieces({})) == unit.texts[0]


def test_other_answers_are_none() -> None:
    """Not every untagged line is a FETCH."""
    assert parse_response(Unit.line(b"* 5 EXISTS")) is None
