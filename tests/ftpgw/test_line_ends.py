"""Line ends of TYPE A."""

import pytest

from ftpgw.line_ends import ToStore, ToWire

STORED, WIRE = b"a\nb\r\n\rc\r\r\nd", b"a\r\nb\r\n\rc\r\r\nd"


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_to_the_wire(step: int) -> None:
    """A bare LF becomes CRLF and a CRLF stays, wherever the stream is cut."""
    ends = ToWire()
    pieces = [ends.feed(STORED[n : n + step]) for n in range(0, len(STORED), step)]
    assert b"".join([*pieces, ends.finish()]) == WIRE


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_to_the_store(step: int) -> None:
    """CRLF becomes LF and a bare CR stays, wherever the stream is cut."""
    ends = ToStore()
    wire = b"MZ\r\nBAD\r\r\nSIG\r\n\rx\r"
    pieces = [ends.feed(wire[n : n + step]) for n in range(0, len(wire), step)]
    assert b"".join([*pieces, ends.finish()]) == b"MZ\nBAD\r\nSIG\n\rx\r"
