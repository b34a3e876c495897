"""ICAP replies, taken apart as their bytes arrive. No sockets here.

Rules of this file: nothing is kept but one block of headers; the body is handed on as it comes; every length is
bounded; a reply that breaks the rules ends the parsing with BadReply. Source: RFC 3507, 4.3, 4.4 and 4.5, and a
running c-icap 0.5.10.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from policy.verdict import Status
from scanners.icap.headers import HEAD_LIMIT, BadReply, Headers, parse_lines, split_block

CHUNK_LINE_LIMIT = 4096
"""Bytes of a chunk's first line, extensions included."""

_STATUS_LINE = re.compile(rb"ICAP/1\.0 ([0-9]{3})(?: (.*))?", re.DOTALL)
_ENCAPSULATED = re.compile(
    rb"(?:(res-hdr)[ \t]*=[ \t]*0[ \t]*,[ \t]*)?(res-body|null-body|opt-body)[ \t]*=[ \t]*([0-9]{1,6})", re.IGNORECASE
)
# Eight digits: 4 GiB in one chunk. The chunk is handed on as it comes, so that its size costs nothing.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")

_NONE = Headers()


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before a reply's body: ICAP's status and headers, and those of the HTTP reply in it.

    `http_line` is the HTTP status line, None where no HTTP headers came along."""

    code: int
    reason: bytes
    headers: Headers
    http_line: bytes | None = None
    http_headers: Headers = _NONE
    has_body: bool = False


class ReplyParser:
    """One final reply, with the `100 Continue` that may come before it.

    `head` is there once the headers are whole, `complete` is set with the last byte, `excess` if more came, `started`
    with the first byte; `continues` counts the `100`s. `trailers` are what followed the body."""

    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self._on_body = on_body
        self._pending = bytearray()
        self._searched = 0
        self._left = 0
        self._http_size = 0
        self._icap: Head | None = None
        self._step: Callable[[], bool] = self._read_icap
        self.head: Head | None = None
        self.trailers = Headers()
        self.complete = False
        self.continues = 0
        self.started = False

    def __repr__(self) -> str:
        step = self._step.__name__.removeprefix("_read_")
        return f"<ReplyParser at {step}, {len(self._pending)} bytes pending>"

    @property
    def excess(self) -> bool:
        """Whether bytes came behind the reply."""
        return self.complete and bool(self._pending)

    def feed(self, data: bytes) -> None:
        """The next bytes. BadReply where they cannot be part of a reply; nothing is to be fed after that."""
        self.started = self.started or bool(data)
        self._pending += data
        while not self.complete and self._step():
            pass

    def _take(self, size: int) -> bytes:
        part = bytes(self._pending[:size])
        del self._pending[:size]
        self._searched = 0
        return part

    def _take_until(self, mark: bytes, limit: int, what: str) -> bytes | None:
        """Up to and with `mark`, or None until it has come. The same bytes are not searched twice."""
        at = self._pending.find(mark, max(0, self._searched - len(mark)), limit)
        if at >= 0:
            return self._take(at + len(mark))
        if len(self._pending) >= limit:
            raise BadReply(Status.ERROR, f"{what} of more than {limit} bytes")
        self._searched = len(self._pending)
        return None

    def _read_icap(self) -> bool:
        _refuse_other_protocols(self._pending)
        block = self._take_until(b"\r\n\r\n", HEAD_LIMIT, "a header")
        if block is None:
            return False
        line, headers = split_block(block)
        status = _STATUS_LINE.fullmatch(line)
        if status is None:
            raise BadReply(Status.UNKNOWN, "a reply that is not ICAP/1.0")
        code, reason = int(status[1]), status[2] or b""
        if code == 100:
            self.continues += 1
            return self.continues == 1
        self._open(code, reason, headers)
        return True

    def _open(self, code: int, reason: bytes, headers: Headers) -> None:
        http, self._http_size, has_body = _parse_encapsulated(headers)
        self._icap = Head(code, reason, headers, has_body=has_body)
        if http:
            self._step = self._read_http
        else:
            self._begin_body(self._icap)

    def _begin_body(self, head: Head) -> None:
        self.head = head
        self.complete = not head.has_body
        self._step = self._read_chunk_line

    def _read_http(self) -> bool:
        if len(self._pending) < self._http_size:
            return False
        block = self._take(self._http_size)
        # The offset in `Encapsulated` and the empty line must name the same place.
        if block.find(b"\r\n\r\n") != len(block) - 4:
            raise BadReply(Status.ERROR, "Encapsulated offsets that do not fit the HTTP header")
        line, headers = split_block(block)
        icap = self._icap
        assert icap is not None  # noqa: S101  (set by _open, which alone leads here)
        self._begin_body(Head(icap.code, icap.reason, icap.headers, line, headers, icap.has_body))
        return True

    def _read_chunk_line(self) -> bool:
        line = self._take_until(b"\r\n", CHUNK_LINE_LIMIT, "a chunk's first line")
        if line is None:
            return False
        match = _CHUNK_LINE.fullmatch(line[:-2])
        if match is None:
            raise BadReply(Status.ERROR, "a broken chunk size")
        self._left = int(match[1], 16)
        self._step = self._read_chunk if self._left else self._read_trailers
        return True

    def _read_chunk(self) -> bool:
        if not self._pending:
            return False
        part = self._take(self._left)
        self._left -= len(part)
        if not self._left:
            self._step = self._read_chunk_end
        self._on_body(part)
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._pending) < 2:
            return False
        if self._take(2) != b"\r\n":
            raise BadReply(Status.ERROR, "a chunk that does not end where it said")
        self._step = self._read_chunk_line
        return True

    def _read_trailers(self) -> bool:
        begun = bytes(self._pending[:2])
        if begun == b"\r\n":
            self._take(2)
        elif begun in (b"", b"\r"):
            return False
        else:
            block = self._take_until(b"\r\n\r\n", HEAD_LIMIT, "a trailer")
            if block is None:
                return False
            self.trailers = parse_lines(block[:-4].split(b"\r\n"))
        self.complete = True
        return True


def _refuse_other_protocols(begun: bytearray) -> None:
    """Whoever does not speak ICAP need not send a whole header before that is noticed."""
    known = b"ICAP/1.0 "
    if begun[: len(known)] != known[: len(begun)]:
        raise BadReply(Status.UNKNOWN, "a reply that is not ICAP/1.0")


def _parse_encapsulated(headers: Headers) -> tuple[bool, int, bool]:
    """Whether HTTP headers come, their size in bytes, and whether a body comes. Nothing where the header lacks."""
    values = headers.all("encapsulated")
    if not values:
        return False, 0, False
    match = _ENCAPSULATED.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise BadReply(Status.UNKNOWN, "an Encapsulated header that makes no sense")
    size = int(match[3])
    if bool(match[1]) != bool(size) or size > HEAD_LIMIT:
        raise BadReply(Status.UNKNOWN, "Encapsulated offsets that make no sense")
    return bool(size), size, match[2].lower() != b"null-body"
