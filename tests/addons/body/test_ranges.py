"""Pieces against an oracle that walks through the object byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

from addons.body.ranges import Piece, Wanted, applies, ask_for, frame_piece, is_piece, resolve, take_wanted

numbers = st.one_of(st.none(), st.integers(0, 40))


def oracle(first: int | None, last: int | None, size: int) -> list[int] | None:
    """RFC 9110 section 14.1.2, read literally: the offsets asked for; None where the range is no range."""
    if first is None:
        return None if last is None else list(range(size))[max(0, size - last) :] if last else []
    if last is not None and last < first:
        return None
    return [offset for offset in range(size) if offset >= first and (last is None or offset <= last)]


@given(numbers, numbers, st.integers(0, 30))
def test_a_piece_is_what_the_rfc_says(first: int | None, last: int | None, size: int) -> None:
    """For any single range the piece covers exactly the offsets asked for, or there is none."""
    span = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    piece, expected = resolve(Wanted(span), size), oracle(first, last, size)
    if expected is None:
        assert piece is None
    else:
        assert piece is not None
        assert list(range(piece.start, piece.stop)) == expected
        assert piece.size == size


@given(st.text(max_size=20), st.integers(0, 100))
def test_no_header_breaks_it(span: str, size: int) -> None:
    """Whatever stands in Range, a piece lies inside of the object."""
    piece = resolve(Wanted(span), size)
    assert piece is None or 0 <= piece.start <= piece.stop <= size


@pytest.mark.parametrize("span", ["bytes=0-1,3-4", "bytes=5-2", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=1 -2"])
def test_other_ranges_are_ignored(span: str) -> None:
    """Several ranges, other units and nonsense get the whole object."""
    assert resolve(Wanted(span), 10) is None


def test_the_range_is_taken_off_the_request() -> None:
    """The origin is asked for the whole, whatever the method; only a GET wants a piece."""
    for method, wanted in (("GET", Wanted("bytes=0-1", '"e"')), ("POST", None)):
        request = http.Request.make(method, "http://o/", headers={"Range": "bytes=0-1", "If-Range": '"e"'})
        assert take_wanted(request) == wanted
        assert "range" not in request.headers
        assert "if-range" not in request.headers


@pytest.mark.parametrize(
    ("condition", "status", "holds"),
    [
        (None, 200, True),
        (None, 404, False),
        ('"e"', 200, True),
        ('"f"', 200, False),
        ('W/"e"', 200, False),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200, True),
        ("Sun, 02 Jan 2000 00:00:00 GMT", 200, False),
    ],
)
def test_a_piece_is_of_the_version_that_the_client_knows(condition: str | None, status: int, holds: bool) -> None:
    """If-Range holds for the same strong ETag or the same date, and only a 200 is cut up."""
    headers = {"ETag": '"e"', "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert applies(Wanted("bytes=0-1", condition), http.Response.make(status, b"", headers)) is holds


def test_the_reply_tells_the_piece() -> None:
    """206 with its place, 416 with the size, each with its own length; the origin's response stays as it was."""
    response = http.Response.make(200, b"", {"Transfer-Encoding": "chunked"})
    part, none = frame_piece(response, Piece(2, 5, 10)), frame_piece(response, Piece(0, 0, 10))
    assert (part.status_code, part.headers["content-range"], part.headers["content-length"]) == (
        206,
        "bytes 2-4/10",
        "3",
    )
    assert (none.status_code, none.headers["content-range"], none.headers["content-length"]) == (416, "bytes */10", "0")
    assert "transfer-encoding" not in part.headers
    assert (response.status_code, "content-range" in response.headers) == (200, False)


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"e"', "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, '"e"'),
        ({"ETag": 'W/"e"', "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, "Sat, 01 Jan 2000 00:00:00 GMT"),
        ({"ETag": 'W/"e"'}, None),
    ],
)
def test_a_piece_is_asked_for_of_the_version_that_is_there(headers: dict[str, str], condition: str | None) -> None:
    """If-Range names the strong ETag, else the date; the span is spelled out, also where nothing is left."""
    request = http.Request.make("GET", "http://o/")
    ask_for(request, http.Response.make(200, b"", headers), Piece(2, 5, 10))
    assert (request.headers["range"], request.headers.get("if-range")) == ("bytes=2-4", condition)
    ask_for(request, http.Response.make(200, b"", headers), Piece(0, 0, 10))
    assert request.headers["range"] == "bytes=10-"


ANSWER = {"Content-Range": "bytes 2-4/10", "Content-Length": "3", "ETag": '"e"'}


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (200, {}),
        (206, {"Content-Range": "bytes 2-4/*"}),
        (206, {"Content-Range": "bytes 2-4/11"}),
        (206, {"Content-Range": "bytes 1-3/10"}),
        (206, {"Content-Length": "4"}),
        (206, {"Transfer-Encoding": "chunked"}),
        (206, {"Content-Encoding": "gzip"}),
        (206, {"ETag": '"f"'}),
        (206, {"ETag": None}),
        (206, {"Content-Length": None}),
        (206, {"Content-Type": "multipart/byteranges; boundary=x", "Content-Range": None}),
    ],
)
def test_only_the_very_piece_is_taken_for_it(status: int, change: dict[str, str | None]) -> None:
    """Another place, size, length, coding or version is another object."""
    whole = http.Response.make(200, b"", {"ETag": '"e"', "Content-Length": "10"})
    answer = http.Response(b"HTTP/1.1", 206, b"", http.Headers(), None, None, 0, 0)
    answer.headers.update(ANSWER)
    assert is_piece(answer, Piece(2, 5, 10), whole)
    answer.status_code = status
    for name, value in change.items():
        answer.headers.pop(name, None)
        if value is not None:
            answer.headers[name] = value
    assert not is_piece(answer, Piece(2, 5, 10), whole)
