"""Pieces of objects: asked for by clients, cut from what was checked whole.

Rules of this file: a piece is cut from the bytes that the client would get in full (RFC 9110 section 14); what is
not one plain range of bytes is ignored, which every client must understand; an origin is asked for a piece only of
an object that the policy passes unchecked, and only that piece of that version is taken for the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mitmproxy import http

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client asked for: the fields as they came, taken off the request."""

    span: str
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [start, stop) of an object of `size` bytes. An empty piece cannot be served (416)."""

    start: int
    stop: int
    size: int


def take_wanted(request: http.Request) -> Wanted | None:
    """Take Range and If-Range off the request; the answer is None where nothing of use was asked for."""
    span = request.headers.pop("range", None)
    condition = request.headers.pop("if-range", None)
    return Wanted(span, condition) if span is not None and request.method == "GET" else None


def applies(wanted: Wanted, response: http.Response) -> bool:
    """True where the piece is one of this very response: a whole, of the version that the client knows.

    If-Range holds for the same strong ETag, or for the same Last-Modified (RFC 9110 section 13.1.5)."""
    if response.status_code != 200 or not _ONE_RANGE.fullmatch(wanted.span.strip()):
        return False
    condition = wanted.condition
    if condition is None:
        return True
    known = response.headers.get("etag" if condition.startswith('"') else "last-modified")
    return known == condition


def resolve(wanted: Wanted, size: int) -> Piece | None:
    """The piece of an object of `size` bytes; None where the range makes no sense and the whole is sent."""
    match = _ONE_RANGE.fullmatch(wanted.span.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return Piece(max(0, size - int(match[2])), size, size) if int(match[2]) else Piece(0, 0, size)
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    stop = min(size, int(match[2]) + 1) if match[2] else size
    return Piece(start, stop, size) if start < size else Piece(0, 0, size)


def frame_piece(response: http.Response, piece: Piece) -> http.Response:
    """The 206 that carries the piece, or the 416 that says how long the object is."""
    framed = response.copy()
    length = piece.stop - piece.start
    framed.status_code = 206 if length else 416
    framed.reason = "Partial Content" if length else "Range Not Satisfiable"
    span = f"{piece.start}-{piece.stop - 1}" if length else "*"
    framed.headers["content-range"] = f"bytes {span}/{piece.size}"
    framed.headers["content-length"] = str(length)
    framed.headers.pop("transfer-encoding", None)
    return framed


def ask_for(request: http.Request, response: http.Response, piece: Piece) -> None:
    """Ask for the piece of the object that `response` announced: of this version, where it names its version."""
    last = piece.stop - 1 if piece.stop > piece.start else ""
    request.headers["range"] = f"bytes={piece.start if piece.stop else piece.size}-{last}"
    version = response.headers.get("etag", "")
    condition = version if version.startswith('"') else response.headers.get("last-modified")
    if condition is not None:
        request.headers["if-range"] = condition


def is_piece(response: http.Response, piece: Piece, whole: http.Response) -> bool:
    """True where the answer is this piece of this object, framed by a length and coded and versioned as the whole."""
    headers = response.headers
    span = f"bytes {piece.start}-{piece.stop - 1}/{piece.size}"
    return (
        response.status_code == 206
        and headers.get_all("content-range") == [span]
        and headers.get_all("content-length") == [str(piece.stop - piece.start)]
        and "transfer-encoding" not in headers
        and all(headers.get_all(name) == whole.headers.get_all(name) for name in ("content-encoding", "etag"))
    )
