"""Pieces: what a client may ask for, and what an origin may answer with, asked or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from tests.http.variants.variant import Ask, Variant, head, sized

TYPE = (b"Content-Type", b"application/octet-stream")

WANTED = {
    "first half": ("Range: bytes=0-33",),
    "second half": ("Range: bytes=34-",),
    "suffix": ("Range: bytes=-20",),
    "all": ("Range: bytes=0-",),
    "two pieces": ("Range: bytes=0-10,11-67",),
    "odd case": ("RANGE: BYTES=0-33",),
    "blanks": ("Range: bytes = 0-33",),
    "twice": ("Range: bytes=0-33", "Range: bytes=34-67"),
    "unit unknown": ("Range: lines=0-3",),
    "backwards": ("Range: bytes=33-0",),
    "beyond": ("Range: bytes=9999-",),
    "if the same": ("Range: bytes=0-33", 'If-Range: "v1"'),
    "old field": ("Request-Range: bytes=0-33",),
    "nothing": (),
}


def _piece(payload: bytes) -> bytes:
    span = b"bytes 0-33/%d" % len(payload)
    return sized([TYPE, (b"Content-Range", span)], payload[:34], b"HTTP/1.1 206 Partial Content")


def _several(payload: bytes) -> bytes:
    part = b"--b\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b\r\n"
    size = len(payload)
    body = part % (0, 33, size, payload[:34]) + part % (34, size - 1, size, payload[34:]) + b"--b--\r\n"
    kind = (b"Content-Type", b"multipart/byteranges; boundary=b")
    return sized([kind], body, b"HTTP/1.1 206 Partial Content")


def _whole(payload: bytes) -> bytes:
    return sized([TYPE, (b"ETag", b'"v1"'), (b"Accept-Ranges", b"bytes")], payload)


def _mislabelled(payload: bytes) -> bytes:
    return sized([TYPE, (b"Content-Range", b"bytes 0-33/%d" % len(payload))], payload)


def _unsatisfied(payload: bytes) -> bytes:
    return (
        head([(b"Content-Range", b"bytes */3"), (b"Content-Length", b"%d" % len(payload))], b"HTTP/1.1 416 No")
        + payload
    )


ANSWERS: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "whole": (_whole, True),
    "a 206 of half": (_piece, False),
    "a 206 in parts": (_several, False),
    "a 200 with Content-Range": (_mislabelled, False),
    "a 416 with a body": (_unsatisfied, False),
}


def every() -> Iterator[Variant]:
    """Each wish with each answer."""
    for (wish, fields), (answer, (build, valid)) in itertools.product(WANTED.items(), ANSWERS.items()):
        yield Variant(
            kind="range",
            name=f"{wish} wanted, {answer} given",
            reply=build,
            ask=Ask(fields=fields),
            valid=valid and wish not in ("twice", "two pieces", "blanks", "odd case"),
        )
