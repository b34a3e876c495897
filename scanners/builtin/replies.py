"""What the worker process says of one object: a line of JSON, bounded.

Rules of this file: nothing of it is believed but its exact form; whatever else comes is no reply.
"""

from __future__ import annotations

import json

from policy.verdict import Status
from scanners.engine import Answer

LIMIT = 8192
"""Bytes of a line, its end included."""

READY = b'{"ready":true}\n'
"""Said once, when the worker has started."""

_TEXT = 500
_KEYS = {"status", "virus", "detail"}


def encode(answer: Answer) -> bytes:
    """One line; long texts are cut."""
    virus = answer.virus[:_TEXT] if answer.virus is not None else None
    # Escaped to ASCII, a character takes up to twelve bytes: what does not fit is told shorter.
    for length in (_TEXT, 0):
        fields = {"status": answer.status, "virus": virus, "detail": answer.detail[:length]}
        if len(line := json.dumps(fields).encode() + b"\n") <= LIMIT:
            break
    return line


def decode(line: bytes) -> Answer | None:
    """What was said, or None where that is no reply."""
    try:
        said = json.loads(line)
        if not isinstance(said, dict) or said.keys() != _KEYS:
            return None
        status, virus, detail = Status(said["status"]), said["virus"], said["detail"]
    except (ValueError, TypeError, RecursionError):
        return None
    # A name comes with `found`, and with nothing else.
    named = isinstance(virus, str) and bool(virus) if status is Status.FOUND else virus is None
    return Answer(status, virus=virus, detail=detail) if named and isinstance(detail, str) else None
