"""The files inside of a form: where each part of a multipart body begins and ends (RFC 7578, RFC 2046 section 5.1).

Rules of this file: one reading only, and what another reader could divide differently raises; the body is read in
bounded pieces and never copied as a whole; nothing is decoded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_PARTS = 1000
MAX_HEAD = 16 * 1024  # of one part, bytes

_PIECE = 1024 * 1024
_WORD = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf';[ \t]*({_WORD})=(?:({_WORD}|[^\s;"\\]+)|"([^"\\\r\n]*)")[ \t]*')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_MULTIPART = re.compile(rf"[ \t]*multipart/{_WORD}[ \t]*", re.IGNORECASE)
# Two fields, which mitmproxy joins by a comma, or a list: some servers take the last one.
_AMONG_OTHERS = re.compile(r"(?:^|,)\W*multipart|multipart\W*/", re.IGNORECASE)
_FIELD = re.compile(rb"(?i)(content-[a-z-]+):[ \t]*([^\r\n\0]*)")


class FormError(ValueError):
    """Two readers could divide the body differently; the text says why, fit for a page."""


class Readable(Protocol):
    """A complete body."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [start, stop) of the body. `coding` is the part's own transfer coding in lower case, "" where it says
    nothing of use."""

    start: int
    stop: int
    coding: str = ""


def find_boundary(content_type: str | None) -> bytes | None:
    """The boundary that a Content-Type tells, None where it is no multipart. Raises FormError."""
    if content_type is None or "multipart" not in content_type.lower():
        return None
    kind = _MULTIPART.match(content_type)
    if kind is None:
        if _AMONG_OTHERS.search(content_type) is None:
            return None  # as in a parameter's value
        raise FormError("a form without a readable type")
    found, at = [], kind.end()
    while match := _PARAMETER.match(content_type, at):
        at = match.end()
        if match[1].lower().startswith("boundary"):
            found.append((match[1].lower(), match[3] if match[2] is None else match[2]))
    if at != len(content_type) or len(found) != 1 or found[0][0] != "boundary":
        raise FormError("a form without one plain boundary")
    if _BOUNDARY.fullmatch(found[0][1]) is None:
        raise FormError("a form whose boundary is none")
    return found[0][1].encode()


def find_parts(body: Readable, boundary: bytes) -> Iterator[Part | None]:
    """The parts, in order; none in an empty body. None stands for a megabyte in which nothing ended: whoever asks may
    see to others before the next. Raises FormError, at the latest after the last one."""
    mark, start, closed, count = b"--" + boundary, -1, False, -1
    for at in _places(body, mark):
        if at is None:
            yield None
            continue
        count += 1
        if closed or count > MAX_PARTS:
            raise FormError("a form that goes on behind its end" if closed else f"more than {MAX_PARTS} parts")
        before = body.read(max(0, at - 2), min(at, 2))
        if (at and before != b"\r\n") or (at > 2 and start < 0):
            raise FormError("a form whose boundary stands where none is expected")
        if start >= 0:
            yield _part(body, start, at - 2)
        behind = body.read(at + len(mark), 4)
        start, closed = at + len(mark) + 2, behind.startswith(b"--")
        if not closed and not behind.startswith(b"\r\n"):
            raise FormError("a form whose boundary goes on")
    if (not closed and body.size) or (closed and body.read(start, 3) not in (b"", b"\r\n")):
        raise FormError("a form that is cut, or goes on behind its end")


def _places(body: Readable, mark: bytes) -> Iterator[int | None]:
    """Where the mark stands; one may not reach into the next. None after each full piece."""
    offset, tail = 0, b""
    while piece := body.read(offset, _PIECE):
        data, base = tail + piece, offset - len(tail)
        at = data.find(mark)
        while at >= 0:
            yield base + at
            at = data.find(mark, at + len(mark))
        offset += len(piece)
        tail = data[-(len(mark) - 1) :]
        if len(piece) == _PIECE:
            yield None


def _part(body: Readable, start: int, stop: int) -> Part:
    head = body.read(start, min(MAX_HEAD, stop - start))
    end = 0 if head.startswith(b"\r\n") else head.find(b"\r\n\r\n") + 2
    if (end == 1 or stop < start) or _breaks(head[:end]):
        raise FormError("a part of a form whose head cannot be read")
    fields = [_FIELD.fullmatch(line) for line in head[:end].split(b"\r\n")]
    codings = [match[2] for match in fields if match and match[1].lower() == b"content-transfer-encoding"]
    kinds = [match[2] for match in fields if match and match[1].lower() == b"content-type"]
    if len(codings) > 1 or len(kinds) > 1 or any(kind.lower().startswith(b"multipart") for kind in kinds):
        raise FormError("a form in a form, or a part described twice")
    coding = codings[0].strip().lower().decode("latin-1") if codings else ""
    return Part(start + end + 2, stop, "" if coding in ("7bit", "8bit", "binary") else coding)


def _breaks(head: bytes) -> bool:
    """A line end that is no CRLF, a NUL, a fold, or a line that is no field."""
    lines = head.split(b"\r\n")[:-1]
    return any(re.fullmatch(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\r\n\0]*", line) is None for line in lines)
