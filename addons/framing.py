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

# What some receivers take for a line end or cut a value at: CR, LF (folding among them), NUL, VT and FF.
_BREAKS_LINES = re.compile(rb"[\r\n\0\v\f]")


def find_line_break(message: http.Message) -> str | None:
    """Name the header or reason phrase in which two readers could see different lines, or None."""
    if isinstance(message, http.Response) and _BREAKS_LINES.search(message.data.reason):
        return "the reason phrase holds a control character"
    for name, value in message.headers.fields:
        if _BREAKS_LINES.search(value) or _BREAKS_LINES.search(name):
            return f"the header {name!r} holds a control character"
    return None


def own_reason(response: http.Response) -> None:
    """The reason phrase is the one that belongs to the status code, whatever the origin wrote there."""
    response.data.reason = status_codes.RESPONSES.get(response.status_code, "").encode()


def frame_for_client(
    request: http.Request, response: http.Response, *, length: int | None, identity: bool
) -> http.Response:
    """The response as the client gets it; `length` bytes long where that is known, decoded where `identity`."""
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
