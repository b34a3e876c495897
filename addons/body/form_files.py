"""The files of a form, each copied into a spool of its own for the engines: archives are not found amid a form.

Rules of this file: one file at a time lies in a spool, and is given back before the next; a transfer coding that a
server may undo is undone; short plain text needs no look of its own, for it was seen with the whole.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

from addons.body.form_parts import FormError, Part, Readable, find_boundary, find_parts
from inspection.spool import Spool, SpoolRoom

_PIECE = 1024 * 1024
_SHORT = 1024  # bytes
_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]*")


async def unpack_form(body: Readable, content_type: str | None, room: SpoolRoom) -> AsyncIterator[Spool]:
    """The files, each open until the next is asked for; none where the body is no multipart.

    Raises FormError where readers could divide the form differently, OSError where there is no room."""
    boundary = find_boundary(content_type)
    for part in find_parts(body, boundary) if boundary is not None else ():
        await asyncio.sleep(0)  # a large form, or one of many parts, takes long to divide: the others get their turn
        if part is None or _is_seen(body, part):
            continue
        with closing(room.open()) as spool:
            for piece in _decoded(body, part):
                spool.append(piece)
                await asyncio.sleep(0)
            spool.finish()
            yield spool


def _is_seen(body: Readable, part: Part) -> bool:
    size = part.stop - part.start
    return not part.coding and size <= _SHORT and _TEXT.fullmatch(body.read(part.start, size)) is not None


def _decoded(body: Readable, part: Part) -> Iterator[bytes]:
    if part.coding not in ("", "base64"):
        raise FormError(f"a file in a form with the transfer coding {part.coding[:40]!a}")
    rest = b""
    for at in range(part.start, part.stop, _PIECE):
        piece = body.read(at, min(_PIECE, part.stop - at))
        if part.coding:
            piece = rest + piece.translate(None, b"\r\n\t ")
            keep = len(piece) % 4
            piece, rest = (piece[:-keep], piece[-keep:]) if keep else (piece, b"")
            piece = _from_base64(piece)
        yield piece
    if rest:
        raise FormError("a file in a form with broken base64")


def _from_base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise FormError(f"a file in a form with broken base64: {error}") from error
