"""What the standard library's parser makes of a mail, beside what we make of it.

Rules of this file: a long leaf is shown to it by its begin, its end and every line that could be a boundary, so that
its memory is bounded; where its leaves differ from ours, the mail is ambiguous; whatever it raises is a difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesFeedParser

from mailgw.mime.views import View
from mailgw.mime.walker import OPENED, Part
from mailgw.mime.window import Stopped, Window

_MOST = 8 << 20
_LONGEST_LINE = 64 * 1024
_MOST_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A leaf longer than `long` bytes is shown by `shown` bytes of its begin and its end."""

    long: int
    shown: int


_SAMPLES = (Sample(128 * 1024, 16 * 1024), Sample(8 * 1024, 2 * 1024))


def choose_sample(leaves: list[Part]) -> Sample:
    """Of many leaves less is shown each, so that all of them can be."""
    short = sum(leaf.end - leaf.body for leaf in leaves if leaf.end - leaf.body <= _SAMPLES[0].long)
    return _SAMPLES[short + len(leaves) * 2 * _SAMPLES[0].shown > _MOST // 2]


def parse(window: Window, leaves: list[Part], sample: Sample) -> Message | None:
    """The standard library's reading; None where it fails, or would take too much."""
    parser = BytesFeedParser()
    fed = 0
    try:
        for piece in _abridge(window, leaves, sample):
            fed += len(piece)
            if fed > _MOST:
                return None
            parser.feed(piece)
        return parser.close()
    except Stopped:
        raise
    except Exception:
        return None


def _abridge(window: Window, leaves: list[Part], sample: Sample) -> Iterator[bytes]:
    at = 0
    for leaf in leaves:
        if leaf.end - leaf.body > sample.long:
            start, whole = _find_cut(window, leaf.body + sample.shown)
            stop = window.find(b"\n", leaf.end - sample.shown) + 1
            stop = stop if 0 < stop <= leaf.end else leaf.end
            if start < stop:
                yield from window.chunks(at, start)
                if not whole:
                    yield b"\n"
                yield from _dashed_lines(window, start, stop)
                at = stop
    yield from window.chunks(at, window.size)


def _find_cut(window: Window, at: int) -> tuple[int, bool]:
    """Where a line begins, or where a very long one may be cut, and which of the two."""
    found = window.read(at, at + _LONGEST_LINE).find(b"\n")
    return (at + found + 1, True) if found >= 0 else (at + 1, False)


def _dashed_lines(window: Window, start: int, stop: int) -> Iterator[bytes]:
    at = start
    for _ in range(_MOST_LINES):
        at = window.find_dashes(at)
        if not 0 <= at < stop:
            return
        line, at = window.line(at)
        yield line if line.endswith(b"\n") else line + b"\n"


def list_leaves(message: Message) -> list[Message]:
    """Its leaves in their order; a report of fields only is a leaf, although the library opens it."""
    leaves: list[Message] = []
    waiting = [message]
    while waiting:
        part = waiting.pop()
        payload = part.get_payload()
        kind = part.get_content_type()
        opened = not kind.startswith("message/") or kind in OPENED
        if isinstance(payload, list) and opened:
            waiting.extend(child for child in reversed(payload) if isinstance(child, Message))
        else:
            leaves.append(part)
    return leaves


def decode(part: Message) -> bytes | None:
    """The bytes of a leaf as the library decodes them; None where it has none of its own."""
    try:
        payload = part.get_payload(decode=True)
    except Exception:
        return None
    return payload if isinstance(payload, bytes) else None


def find_difference(message: Message | None, leaves: list[Part], views: list[list[View]], sample: Sample) -> str:
    """What differs, or "". `views` are those of each leaf."""
    if message is None:
        return "it fails"
    theirs = list_leaves(message)
    if len(theirs) != len(leaves):
        return f"it sees {len(theirs)} parts instead of {len(leaves)}"
    for part, leaf, ours in zip(theirs, leaves, views, strict=True):
        if not leaf.content.type.startswith("message/") and part.get_content_type() != leaf.content.type:
            return f"another type of part {leaf.label}"
        if leaf.end - leaf.body <= sample.long and not _agree(part, ours):
            return f"other bytes of part {leaf.label}"
    return ""


def _agree(part: Message, ours: list[View]) -> bool:
    data = decode(part)
    if data is None:
        return True
    digest = hashlib.sha256(data).hexdigest()
    return any(view.body.sha256 == digest for view in ours) or any(_plain(data) == _plain_view(view) for view in ours)


def _plain(data: bytes) -> bytes:
    """Without what is no difference to any reader: line ends, and blanks at the ends of lines."""
    return b"\n".join(line.rstrip(b" \t\r") for line in data.split(b"\n")).rstrip(b"\n")


def _plain_view(view: View) -> bytes:
    return _plain(view.body.read(0, view.body.size)) if view.body.size <= 2 * _SAMPLES[0].long else b"\0"
