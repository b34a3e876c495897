"""Helps to look at what `read_mail` found.

Rules of this file: everything opened is closed again; a room that is not empty afterwards is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inspection.spool import SpoolRoom
from mailgw.mime.reader import Limits, Mail, read_mail
from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.builtin.budget import Budget
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Walk
from scanners.engine import Body

_SIGNATURES = Signatures({})


@contextmanager
def reading(data: bytes, limits: Limits | None = None, room: SpoolRoom | None = None) -> Iterator[Mail]:
    """The mail, read; closed at the end, and nothing may be left in its room."""
    room = room or SpoolRoom()
    mail = read_mail(MemoryBody(data), room, limits)
    try:
        yield mail
    finally:
        mail.close()
    assert room.used == 0


def is_found(body: Body) -> bool:
    """What the built-in engine says."""
    return Walk(_SIGNATURES, Budget()).scan(body).status is Status.FOUND


def finds(mail: Mail) -> bool:
    """True where some view is infected."""
    return any(is_found(view.body) for view in mail.views)
