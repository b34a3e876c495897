"""Documents of a mail covered in place, so that every length, line end and offset of the mail stays true.

Rules of this file: what is laid over octets has their number; CR and LF stay where they are, and so does the form of
the encoding: base64 stays base64 of as many octets, an escape of quoted-printable stays one; headers are not touched.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailgw.mime.reader import Document
from mailgw.mime.window import Readable, Window

_HEAD = 64 * 1024
"""Octets of an encoded body in which text is laid; behind them it is blank."""
_BLANK_TABLE = bytes(c if c in b"\r\n" else 0x20 for c in range(256))
_BLANKS = b" \t\r\n"
_INKED = re.compile(rb"[^ \t\r\n]+")
_RUN = re.compile(rb"[^\r\n]+")
_ESCAPE = rb"=[0-9A-Fa-f]{2}"
_SOFT = rb"=[ \t]*(?:\r?\n|\Z)"
_TOKEN = re.compile(
    rb"(?P<escape>" + _ESCAPE + rb")|(?P<soft>" + _SOFT + rb")|(?P<dropped>[ \t]+(?=\r?\n|\Z))"
    rb"|(?P<end>[\r\n]+)|(?P<letter>.)",
    re.DOTALL,
)
_LETTERS = re.compile(
    rb"(?P<escape>"
    + _ESCAPE
    + rb")|"
    + _SOFT
    + rb"|(?P<run>(?:[^=\r\n]|=(?!"
    + _ESCAPE[1:]
    + rb"|[ \t]*(?:\r?\n|\Z)))+)"
)
_DIVIDED_ESCAPE = re.compile(rb"=[0-9A-Fa-f]?\Z")
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Cover:
    """Octets `start` to `end` of a mail, an encoded body in `encoding`, are to read `text`; "" is blank."""

    start: int
    end: int
    encoding: str
    text: str = ""


def cover_document(document: Document, text: str) -> Cover:
    """The document's body, not its header."""
    return Cover(document.body, document.end, document.encoding, text)


def mask(mail: Readable, covers: Sequence[Cover]) -> Iterator[tuple[int, bytes]]:
    """The edits, in order: an offset of the mail, and what takes the place of as many octets there.

    `covers` do not overlap. Reads the mail; takes a while for a large one: call it in a thread."""
    for cover in sorted(covers, key=lambda cover: cover.start):
        inks = {"base64": _mask_base64, "quoted-printable": _mask_quoted_printable}
        yield from inks.get(cover.encoding, _mask_plain)(Window(mail), cover)


def mask_mail(mail: Readable, covers: Sequence[Cover]) -> Iterator[bytes]:
    """The pieces of the whole mail as covered: as many octets as it has."""
    window, at = Window(mail), 0
    for offset, data in mask(mail, covers):
        yield from window.chunks(at, offset)
        yield data
        at = offset + len(data)
    yield from window.chunks(at, mail.size)


def blank(data: bytes) -> bytes:
    """As many octets without content: line ends stay, all else is a blank. Safe whatever the reader makes of it."""
    return data.translate(_BLANK_TABLE)


# --- base64


class _Ink:
    """The letters of `size` decoded octets that begin with `text`, given out one stretch after another."""

    def __init__(self, text: str, size: int) -> None:
        plain = _cut(text.encode(), min(size, _HEAD))
        plain += b" " * min(-len(plain) % 3, size - len(plain))
        self._head = b64encode(plain)
        self._last = b64encode(b" " * (size % 3)) if size % 3 and len(plain) < size else b""
        self._length = (size + 2) // 3 * 4
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next letters; blanks behind the last."""
        start, stop = self._at, self._at + count
        self._at = stop
        if stop <= len(self._head):
            return self._head[start:stop]
        middle = self._length - len(self._last)
        letters = self._head[start:stop]
        begin = max(start, len(self._head))
        blanks = max(0, min(stop, middle) - begin)
        phase = begin % 4
        letters += (b"ICAg" * (blanks // 4 + 2))[phase : phase + blanks]
        letters += self._last[max(0, begin - middle) : max(0, stop - middle)]
        return letters.ljust(count, b" ")


def _mask_base64(window: Window, cover: Cover) -> Iterator[tuple[int, bytes]]:
    ink = _Ink(_clean(cover.text).replace("\n", "\r\n"), _decoded_size(window, cover))
    at = cover.start
    for piece in window.chunks(cover.start, cover.end):
        yield at, _INKED.sub(lambda found: ink.take(len(found[0])), piece)
        at += len(piece)


def _decoded_size(window: Window, cover: Cover) -> int:
    """Octets that the body holds now, its padding in mind; where its form is odd, that whole groups can hold."""
    count, tail = 0, b""
    for piece in window.chunks(cover.start, cover.end):
        letters = piece.translate(None, _BLANKS)
        count += len(letters)
        tail = (tail + letters[-3:])[-3:]
    padding = len(tail) - len(tail.rstrip(b"="))
    regular = count % 4 == 0 and padding <= 2
    return count // 4 * 3 - (padding if regular else 0)


def _cut(data: bytes, size: int) -> bytes:
    """No more than `size` octets of UTF-8, and no half character."""
    return data[:size].decode("utf-8", "ignore").encode()


# --- what stands for itself


def _mask_plain(window: Window, cover: Cover) -> Iterator[tuple[int, bytes]]:
    at = cover.start
    for piece in _whole_lines(window, cover):
        if at == cover.start:
            runs = list(_RUN.finditer(piece))
            texts = iter(_lay(_ascii(cover.text), [len(run[0]) for run in runs]))
            yield at, _RUN.sub(lambda run: next(texts, b"").ljust(len(run[0])), piece)  # noqa: B023  (used at once)
        else:
            yield at, blank(piece)
        at += len(piece)


# --- quoted-printable


def _mask_quoted_printable(window: Window, cover: Cover) -> Iterator[tuple[int, bytes]]:
    at = cover.start
    for piece in _whole_lines(window, cover):
        yield at, _write_quoted(piece, _ascii(cover.text)) if at == cover.start else _LETTERS.sub(_fill, piece)
        at += len(piece)


def _write_quoted(piece: bytes, text: str) -> bytes:
    """Each line, its soft breaks in it, is written over octet by octet: letter by letter, escape by escape."""
    tokens = [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(piece)]
    lines: list[list[int]] = [[]]
    for number, (kind, _) in enumerate(tokens):
        if kind == "end":
            lines.append([])
        elif kind in ("escape", "letter"):
            lines[-1].append(number)
    written = [octets for _, octets in tokens]
    lines = [line for line in lines if line]
    for line, words in zip(lines, [*_lay(text, list(map(len, lines))), *([b""] * len(lines))], strict=False):
        for place, number in enumerate(line):
            octet = words[place : place + 1] or b" "
            last = number == line[-1]
            written[number] = _write_octet(octet, escaped=tokens[number][0] == "escape", last=last)
    return b"".join(written)


def _write_octet(octet: bytes, *, escaped: bool, last: bool) -> bytes:
    """A blank at a line's end would be dropped by who decodes it."""
    if escaped:
        return b"=%02X" % octet[0]
    return b"." if last and octet == b" " else octet.replace(b"=", b"-")


def _fill(found: re.Match[bytes]) -> bytes:
    if found["escape"]:
        return b"=20"
    if not found["run"]:
        return found[0]
    after = found.string[found.end() : found.end() + 1]
    if after == b"=":
        return b" " * len(found[0])
    kept = found[0].rstrip(b" \t")
    return (b" " * (len(kept) - 1) + b"." if kept else b"") + found[0][len(kept) :]


# --- where the text goes


def _whole_lines(window: Window, cover: Cover) -> Iterator[bytes]:
    """The body in pieces that end where a line does, as far as lines have an end; the first is no longer than _HEAD."""
    at = cover.start
    while at < cover.end:
        data = window.read(at, min(cover.end, at + _HEAD))
        if not data:
            return
        if at + len(data) < cover.end:
            data = data[: data.rfind(b"\n") + 1] or _DIVIDED_ESCAPE.sub(b"", data)
        yield data
        at += len(data)


def _clean(text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub(" ", line) for line in lines)


def _ascii(text: str) -> str:
    """Of another character nobody knows how the part's charset would write it."""
    return _clean(text).encode("ascii", "replace").decode("ascii")


def _lay(text: str, widths: Sequence[int]) -> list[bytes]:
    """The text in lines that are no longer than these: as it is divided itself, else packed. None can be a boundary."""
    laid = _wrap([line for line in text.split("\n") if line.strip()], widths)
    if laid is None:
        laid = _pack(" ".join(text.split()), widths)
    return [b" -" + line[2:] if line.startswith(b"--") else line for line in (line.encode("ascii") for line in laid)]


def _wrap(lines: list[str], widths: Sequence[int]) -> list[str] | None:
    """Broken between words; None where it does not fit."""
    laid: list[str] = []
    number, rest = 0, lines[0] if lines else ""
    for width in widths:
        if number == len(lines):
            break
        if len(rest) > width:
            cut = rest.rfind(" ", 0, width + 1)
            cut = cut if cut > width // 2 else width
            laid.append(rest[:cut])
            rest = rest[cut:].lstrip()
        else:
            laid.append(rest)
            number += 1
            rest = lines[number] if number < len(lines) else ""
    return laid if number == len(lines) else None


def _pack(text: str, widths: Sequence[int]) -> list[str]:
    laid, at = [], 0
    for width in widths:
        laid.append(text[at : at + width])
        at += width
    return laid
