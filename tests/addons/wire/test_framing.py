"""Framing for every client, of every origin's way."""

from __future__ import annotations

import pytest
from mitmproxy import http

from addons.wire.framing import (
    ends_by_closing,
    find_line_break,
    frame_for_client,
    frame_for_server,
    has_no_body,
    own_reason,
)

ORIGINS: dict[str, dict[str, str]] = {
    "length": {"Content_Length": "5"},
    "chunked": {"Transfer_Encoding": "chunked"},
    "close": {},
}


def ask(version: str, method: str = "GET") -> http.Request:
    request = http.Request.make(method, "http://o/")
    request.http_version = version
    return request


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3"])
@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("identity", [False, True])
def test_every_client_can_tell_the_end(origin: str, version: str, length: int | None, identity: bool) -> None:
    """A known length is told; else HTTP/1.1 gets chunks, HTTP/1.0 alone the end of the connection."""
    request = ask(version)
    response = http.Response.make(200)
    response.headers = http.Headers(**ORIGINS[origin], Content_Encoding="gzip")
    before = response.get_state()
    framed = frame_for_client(request, response, length=length, identity=identity)
    told = framed.headers.get("content-length")
    chunked = framed.headers.get("transfer-encoding") == "chunked"
    assert not (told and chunked)
    if length is not None or (origin == "length" and not identity):
        assert told == "5"
    else:
        assert (told, chunked) == (None, version == "HTTP/1.1")
    assert ends_by_closing(request, framed) == (version == "HTTP/1.0" and told is None)
    assert ("content-encoding" in framed.headers) is not identity
    assert framed is response or response.get_state() == before


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_what_has_no_body_is_not_framed(method: str, status: int) -> None:
    """Length and chunks of a body that does not come are left as the origin told them."""
    response = http.Response.make(status, b"", {"Content-Length": "99"})
    assert has_no_body(ask("HTTP/1.1", method), response)
    assert frame_for_client(ask("HTTP/1.1", method), response, length=0, identity=False) is response


@pytest.mark.parametrize(("length", "chunked"), [(7, False), (7, True), (None, True), (None, False)])
def test_an_upload_is_never_unframed(length: int | None, chunked: bool) -> None:
    """An HTTP/1 server would take an unframed body for the next request."""
    request = ask("HTTP/2.0", "POST")
    request.headers.pop("content-length", None)
    frame_for_server(request, length, chunked=chunked)
    assert request.headers.get("content-length") == (None if length is None else "7")
    assert ("transfer-encoding" in request.headers) is (length is None and chunked)


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\r\n b", b"a\0b", b"a\vb", b"a\fb"])
def test_line_breaks_are_told(bad: bytes) -> None:
    """In a value, a name and the reason phrase alike."""
    for fields in (((b"x", bad),), ((bad, b"x"),)):
        response = http.Response.make(200)
        response.headers = http.Headers(fields)
        assert find_line_break(response)
    response = http.Response.make(200)
    response.data.reason = bad
    assert find_line_break(response)
    own_reason(response)
    assert (find_line_break(response), response.data.reason) == (None, b"OK")


@pytest.mark.parametrize("odd", [b"a\x1cX: b", b"a\x1eb", b"a\x85Content-Encoding: br", b"a\xe2\x80\xa8X-A : b"])
def test_separators_that_some_take_for_line_ends_are_found(odd: bytes) -> None:
    """ASCII's separators always; NEL and LS where a field follows."""
    response = http.Response.make(200)
    response.headers = http.Headers([(b"X-A", odd)])
    assert find_line_break(response)


def test_letters_are_no_line_ends() -> None:
    """The byte of NEL is part of letters in UTF-8, and an ellipsis on Windows."""
    response = http.Response.make(200)
    response.headers = http.Headers([(b"X-A", "filename=Å…\u2028.txt".encode()), (b"X-B", b"Report\x85.pdf")])
    assert find_line_break(response) is None
