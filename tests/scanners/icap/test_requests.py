"""What is said to an ICAP server, to the byte."""

from __future__ import annotations

from scanners.icap.requests import make_chunk, make_options, make_respmod


def test_options() -> None:
    """A request without anything in it."""
    assert make_options("av:1344", "/avscan?x=1") == (
        b"OPTIONS icap://av:1344/avscan?x=1 ICAP/1.0\r\nHost: av:1344\r\nUser-Agent: Sluice\r\n\r\n"
    )


def test_respmod() -> None:
    """The offsets in Encapsulated are those of the HTTP headers that follow."""
    icap, rest = make_respmod("av:1344", "/s", size=5, preview=4, allow_204=True).split(b"\r\n\r\n", 1)
    lines = icap.split(b"\r\n")
    assert lines[0] == b"RESPMOD icap://av:1344/s ICAP/1.0"
    assert lines[1:-1] == [b"Host: av:1344", b"User-Agent: Sluice", b"Allow: 204", b"Preview: 4"]
    request, response = rest.removesuffix(b"\r\n\r\n").split(b"\r\n\r\n")
    first, second = len(request) + 4, len(rest)
    assert lines[-1] == b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d" % (first, second)
    assert request.startswith(b"GET http://sluice.invalid/object.bin HTTP/1.1\r\n")
    assert response.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: application/octet-stream",
        b"Content-Length: 5",
    ]


def test_what_is_not_wanted_is_not_said() -> None:
    """No preview, no 204."""
    head = make_respmod("av:1344", "/s", size=5, preview=None, allow_204=False)
    assert b"Preview" not in head
    assert b"Allow" not in head


def test_chunks() -> None:
    """Sizes in hex; an empty part would be the end, and makes none."""
    assert make_chunk(b"x" * 26, b"0\r\n\r\n") == b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert make_chunk(b"", b"0\r\n\r\n") == b"0\r\n\r\n"
