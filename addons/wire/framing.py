"""How a message is framed towards its receiver: always by us, never as the origin happened to do it.

Rules of this file: a known length is announced; an unknown one is chunked for HTTP/1.1, left to the stream's own
end for HTTP/2 and 3, and ended by closing for HTTP/1.0 alone; a response is never changed in place, because
mitmproxy judges the origin's connection by the one that it received (RFC 9112 section 6.3).
"""

from __future__ import annotations

import re

from mitmproxy import http
from mitmproxy.net.http import status_codes

_HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")

# What some receivers take for a line end or cut a value at: CR, LF (folding among them), NUL, VT, FF, and the
# separators FS, GS and RS; NEL, LS and PS where a field seems to follow, for they may be letters otherwise.
_BREAKS_LINES = re.compile(rb"[\r\n\0\v\f\x1c-\x1e]|(?:\x85|\xe2\x80[\xa8\xa9])[ \t]*[-!#$%&'*+.^_`|~\w]+[ \t]*:")


def find_line_break(message: http.Message) -> str | None:
    """Name the header or reason phrase in which two readers could see different lines, or None."""
    if isinstance(message, http.Response) and _BREAKS_LINES.search(message.data.reason):
        return "the reason phrase holds a control character"
    return find_break_in_fields(message.headers)


def find_break_in_fields(headers: http.Headers) -> str | None:
    """The same for headers or trailers alone."""
    for name, value in headers.fields:
        if _BREAKS_LINES.search(value) or _BREAKS_LINES.search(name):
            return f"the header {name!r} holds a control character"
    return None


def find_fault_in_version(message: http.Message) -> str | None:
    """Name what HTTP/1 cannot be, or None; a later minor version is read as 1.1, and said as that (RFC 9110
    section 2.5)."""
    version = message.data.http_version
    if version in (b"HTTP/1.0", b"HTTP/1.1"):
        return None
    if isinstance(message, http.Response) and version.startswith(b"HTTP/1."):
        message.data.http_version = b"HTTP/1.1"
        return None
    return "the version is none of HTTP/1's"


def own_reason(response: http.Response) -> None:
    """The reason phrase is the one that belongs to the status code, whatever the origin wrote there."""
    response.data.reason = status_codes.RESPONSES.get(response.status_code, "").encode()


def frame_for_client(
    request: http.Request, response: http.Response, *, length: int | None, identity: bool
) -> http.Response:
    """The response as the client gets it; `length` bytes long where that is known, decoded where `identity`."""
    if has_no_body(request, response):
        return response
    headers = response.headers
    announced = "content-length" in headers and not identity
    if announced and "transfer-encoding" not in headers and not _speaks_streams(request):
        return response
    framed = response.copy()
    if identity:
        framed.headers.pop("content-encoding", None)
        framed.headers.pop("content-length", None)
    if length is not None:
        framed.headers["content-length"] = str(length)
    _frame_unknown_length(request, framed)
    return framed


def _frame_unknown_length(request: http.Request, framed: http.Response) -> None:
    if _speaks_streams(request):
        for name in _HOP_BY_HOP:
            framed.headers.pop(name, None)
        return
    framed.headers.pop("transfer-encoding", None)
    if "content-length" not in framed.headers and request.http_version != "HTTP/1.0":
        framed.headers["transfer-encoding"] = "chunked"
        framed.http_version = "HTTP/1.1"


def frame_for_server(request: http.Request, length: int | None, *, chunked: bool) -> None:
    """The upload as the server gets it, in place: `length` bytes long where that is known, else as it was announced,
    else chunked where `chunked` (HTTP/1). An HTTP/1 server takes an unframed body for the next request."""
    if length is not None:
        request.headers["content-length"] = str(length)
        request.headers.pop("transfer-encoding", None)
    elif chunked and "content-length" not in request.headers:
        request.headers["transfer-encoding"] = "chunked"


def has_no_body(request: http.Request, response: http.Response) -> bool:
    """True for responses that never have one, whatever follows them (RFC 9110 section 6.4.1)."""
    return request.method.upper() == "HEAD" or response.status_code in (204, 304)


def ends_by_closing(request: http.Request, response: http.Response | None) -> bool:
    """True where the client takes the end of the connection for the end of the body."""
    return (
        response is not None
        and not _speaks_streams(request)
        and "content-length" not in response.headers
        and "transfer-encoding" not in response.headers
    )


def _speaks_streams(request: http.Request) -> bool:
    return request.is_http2 or request.is_http3
