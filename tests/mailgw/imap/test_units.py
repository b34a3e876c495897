"""Units: whole, in pieces, too large, and none at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.spool import SpoolRoom
from mailgw.imap.units import Bounds, Literal, Unit, UnitFault, UnitReader

BOUNDS = Bounds(lines=1000, memory=2000, literals=5, literal=5000)
STREAM = (
    b"a1 LOGIN {3}\r\nbob {0+}\r\n\r\n"
    b"* 1 FETCH (BODY[] {10}\r\n{5}\r\nabcde UID 4)\r\n"
    b"* OK a line {12}x\r\n"
    b"a2 APPEND x ~{2-}\r\n\0\n\r\n"
)


def keep(unit: Unit, literal: Literal) -> None:
    """Everything in memory."""
    literal.body = bytearray()


def read_all(reader: UnitReader, *pieces: bytes) -> list[bytes]:
    """The units' octets."""
    inbox, units = bytearray(), []
    for piece in pieces:
        inbox += piece
        while (unit := reader.take(inbox)) is not None:
            units.append(b"".join(unit.pieces()))
    return units


def test_units_are_the_same_wherever_they_are_cut() -> None:
    """Every cut in two, and octet by octet."""
    whole = read_all(UnitReader(BOUNDS, keep), STREAM)
    assert len(whole) == 4
    assert b"".join(whole) == STREAM
    for cut in range(len(STREAM)):
        assert read_all(UnitReader(BOUNDS, keep), STREAM[:cut], STREAM[cut:]) == whole
    assert read_all(UnitReader(BOUNDS, keep), *(STREAM[at : at + 1] for at in range(len(STREAM)))) == whole


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30), min_size=1))
def test_what_is_taken_is_what_came(bodies: list[bytes], cuts: list[int]) -> None:
    """Any literals, any cuts: octets out are octets in."""
    stream = b"".join(b"* 1 FETCH (BODY[] {%d}\r\n%s)\r\n" % (len(body), body) for body in bodies)
    pieces, at, number = [], 0, 0
    while at < len(stream):
        pieces.append(stream[at : at + cuts[number % len(cuts)]])
        at, number = at + cuts[number % len(cuts)], number + 1
    units = read_all(UnitReader(BOUNDS, keep), *pieces)
    assert units == [b"* 1 FETCH (BODY[] {%d}\r\n%s)\r\n" % (len(body), body) for body in bodies]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60)))
def test_noise_ends_in_a_fault_or_in_itself(pieces: list[bytes]) -> None:
    """Whatever comes, nothing else is raised, and nothing is invented."""
    try:
        units = read_all(UnitReader(BOUNDS, keep), *pieces)
    except UnitFault:
        return
    assert b"".join(pieces).startswith(b"".join(units))


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * 1001,
        b"a\n",
        b"a\0b\r\n",
        b"* 1 FETCH (BODY[] {99999999999}\r\n",
        b"* 1 FETCH (BODY[] {5001}\r\n",
        b"".join(b"{0}\r\n" for _ in range(6)),
        b"{1500}\r\n" + b"x" * 1500 + b"{501}\r\n",
        b"{1}\r\nx" + b"y" * 1000,
    ],
)
def test_what_is_too_much_is_a_fault(stream: bytes) -> None:
    """Lines, literals, their number, their sizes, LF alone, NUL."""
    with pytest.raises(UnitFault):
        read_all(UnitReader(BOUNDS, keep), stream)


def test_a_negative_literal_is_none() -> None:
    """It is a line, for who reads it to make sense of."""
    assert read_all(UnitReader(BOUNDS, keep), b"* 1 FETCH (BODY[] {-100}\r\n") == [b"* 1 FETCH (BODY[] {-100}\r\n"]


def test_a_line_that_has_no_literals_may_look_like_it() -> None:
    """The text of a status may end in braces."""
    reader = UnitReader(BOUNDS, keep, lambda line: not line.startswith(b"* OK"))
    assert read_all(reader, b"* OK see {12}\r\n* OK b\r\n") == [b"* OK see {12}\r\n", b"* OK b\r\n"]


def test_a_literal_without_room_is_dropped_to_its_end(tmp_path: Path) -> None:
    """The next unit is found, the room is given back, and who asks hears why."""
    room = SpoolRoom(tmp_path, memory=10, max_object=20, max_total=100)

    def spool(unit: Unit, literal: Literal) -> None:
        literal.body = room.open()

    reader, inbox = UnitReader(BOUNDS, spool), bytearray()
    inbox += b"{30}\r\n" + b"x" * 15
    assert reader.take(inbox) is None
    inbox += b"x" * 15 + b"\r\nnext\r\n"
    unit = reader.take(inbox)
    assert unit is not None
    assert unit.literals[0].body is None
    assert unit.literals[0].fault is not None
    assert room.used == 0
    following = reader.take(inbox)
    assert following is not None
    assert following.texts == [b"next\r\n"]


def test_a_flat_line_names_its_literals() -> None:
    """Markers go, numbers stand in their place."""
    inbox = bytearray(b"a {1}\r\nx b ~{2+}\r\nyy c\r\n")
    unit = UnitReader(BOUNDS, keep).take(inbox)
    assert unit is not None
    assert unit.flat() == b"a \0000\0 b \0001\0 c"
    assert [(one.binary, one.waits) for one in unit.literals] == [(False, True), (True, False)]
