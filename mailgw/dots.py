"""A mail between DATA and its final dot (RFC 5321, 4.5.2): dots taken off, dots put back, line ends watched.

Rules of this file: no I/O; CRLF.CRLF alone ends a mail; a bare CR or LF is content here, is counted, and is refused by
who asks; cuts between two pieces never fall where they would change what the octets mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_END = b"\r\n.\r\n"


class LineEnds:
    """Watches octets go by for a CR without LF, or an LF without CR."""

    def __init__(self) -> None:
        self._cr = self._lf = self._crlf = 0
        self._after_cr = False
        self.last = b"\r\n"  # the last two octets; a mail begins as a line does

    def see(self, data: bytes) -> None:
        """The next octets."""
        if not data:
            return
        self._cr += data.count(b"\r")
        self._lf += data.count(b"\n")
        self._crlf += data.count(b"\r\n") + (self._after_cr and data[0] == 0x0A)
        self._after_cr = data[-1] == 0x0D
        self.last = (self.last + data[-2:])[-2:]

    @property
    def bare(self) -> bool:
        """True where there was one of either. Asked at the end."""
        return not self._cr == self._lf == self._crlf


class DotReader:
    """Takes a mail out of what a client sends. `done` once its end was seen."""

    def __init__(self) -> None:
        self._held = bytearray(b"\r\n")  # the line end that the first line begins behind
        self._given = -2
        self.done = False
        self.line_ends = LineEnds()

    def take(self, inbox: bytearray) -> bytes:
        """The next octets of content; what stands behind the mail's end stays in `inbox`."""
        held = self._held
        start = max(0, len(held) - 4)
        held += inbox
        end = held.find(_END, start)
        if end < 0:
            inbox.clear()
            return self._give(_safe_length(held))
        rest = len(held) - end - len(_END)
        del inbox[: len(inbox) - rest]
        self.done = True
        return self._give(end + 2)

    def _give(self, length: int) -> bytes:
        raw = bytes(self._held[:length])
        del self._held[:length]
        content = raw.replace(b"\r\n.", b"\r\n")
        if self._given < 0 and content:
            content = content[2:]
            self._given = 0
        self.line_ends.see(content)
        return content


def _safe_length(held: bytes | bytearray) -> int:
    """How much may go: not what could be the end's beginning, no line end without what follows it."""
    return _before_line_end(held, max(0, len(held) - 4))


def _before_line_end(data: bytes | bytearray, length: int) -> int:
    """`length`, or less where that would cut within a line end or right behind it."""
    if data[max(0, length - 2) : length] == b"\r\n":
        return length - 2
    return length - 1 if data[max(0, length - 1) : length] == b"\r" else length


def stuff(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content as it goes behind DATA, without the end: dots doubled, the last line ended."""
    held = b"\r\n"
    first = True
    for piece in pieces:
        held += piece
        length = _before_line_end(held, len(held))
        out, held = held[:length], held[length:]
        if out:
            yield _double(out, first=first)
            first = False
    out = _double(held, first=first)
    yield out if held.endswith(b"\r\n") else out + b"\r\n"


def _double(data: bytes, *, first: bool) -> bytes:
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return stuffed[2:] if first else stuffed
