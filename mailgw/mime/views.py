"""A leaf as one reader or another decodes it.

Rules of this file: the first view is what RFC 2045 says; a further view is kept only where its bytes differ; what is
decoded goes to spools, piece by piece; whoever made the shelf closes it.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from inspection.spool import Spool
from mailgw.mime import base64_text, quoted_printable, text_blocks
from mailgw.mime.rules import Findings, Rule
from mailgw.mime.shelf import Shelf
from mailgw.mime.window import Readable, Window

_HEAD = 4096
_MOST_BLOCKS = 50
MOST_STRETCHES = 200
_SHORTEST_STRETCH = 48
_LONG_LINE = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}\s*")
_ANY_LONG_LINE = re.compile(rb"^[A-Za-z0-9+/]{16,}+={0,2}[ \t\r\f\v]*$", re.MULTILINE)
_SHORT_LINE = re.compile(rb"[A-Za-z0-9+/]{2,}={0,2}\s*")
_LINE_LIMIT = 1 << 16
_OVERLAP = 128
# What a text shows only once it is decoded: the bytes of its letters are not ASCII's, or shifts stand between them.
_TRANSCODED = (
    *("utf-7", "utf-16", "utf-32", "hz", "iso2022"),
    *("cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"),
)


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a leaf."""

    name: str
    body: Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Where a leaf lies, and what it says of itself."""

    window: Window
    start: int
    end: int
    part: str
    type: str
    encoding: str
    charset: str


class LeafViews:
    """The views of one leaf, in `views` once `read` has run."""

    def __init__(self, leaf: Encoded, shelf: Shelf, findings: Findings) -> None:
        self._leaf = leaf
        self._shelf = shelf
        self._findings = findings
        self.views: list[View] = []

    def read(self) -> list[View]:
        """Decodes. Raises SpoolFull, OSError."""
        readings: dict[str, Callable[[], None]] = {
            "base64": self._read_base64,
            "quoted-printable": self._read_quoted_printable,
        }
        readings.get(self._leaf.encoding, self._read_plain)()
        main = self.views[0].body
        if self._leaf.type.startswith("text/"):
            self._add_charset(main)
        for number, (kind, pieces) in enumerate(_find_blocks(self._shelf.watch(main))):
            if number == _MOST_BLOCKS:
                self._findings.add(Rule.LIMIT, self._leaf.part, f"more than {_MOST_BLOCKS} files in a text")
                break
            self._add(f"{kind}-{number + 1}", pieces)
        return self.views

    def _pieces(self) -> Iterator[bytes]:
        return self._leaf.window.chunks(self._leaf.start, self._leaf.end)

    def _add(self, name: str, pieces: Iterable[bytes]) -> None:
        spool = self._shelf.store(pieces)
        if self.views and (not spool.size or any(spool.sha256 == view.body.sha256 for view in self.views)):
            self._shelf.drop(spool)
        else:
            self.views.append(View(name, spool))

    def _read_base64(self) -> None:
        check = base64_text.Base64Check()
        self._add("", base64_text.decode(_watch(self._pieces(), check.see)))
        if not check.strict:
            self._findings.add(Rule.BASE64, self._leaf.part, "other characters, or padding, within base64")
            for name, decode in base64_text.LENIENT.items():
                self._add(name, decode(self._pieces()))
            self._add("raw", self._pieces())

    def _read_quoted_printable(self) -> None:
        check = quoted_printable.QuotedPrintableCheck()
        self._add("", quoted_printable.decode(_watch(self._pieces(), check.see)))
        if not check.strict:
            self._findings.add(Rule.QUOTED_PRINTABLE, self._leaf.part, "an escape that is none")
            self._add("quoted-printable-dropped", quoted_printable.decode_without_broken(self._pieces()))
            self._add("raw", self._pieces())
        if any(map(quoted_printable.has_trailing_blanks, self._pieces())):
            self._add("quoted-printable-blanks", quoted_printable.decode_with_blanks(self._pieces()))

    def _read_plain(self) -> None:
        self._add("", self._pieces())
        head = self._leaf.window.read(self._leaf.start, min(self._leaf.end, self._leaf.start + _HEAD))
        if base64_text.looks_like_base64(head):
            self._add("base64", base64_text.decode(self._pieces()))
            self._add("base64-restarted", base64_text.decode_restarted(self._pieces()))
        self._add_stretches(self.views[0].body)
        if any(map(quoted_printable.has_escapes, self._pieces())):
            self._add("quoted-printable", quoted_printable.decode(self._pieces()))

    def _add_stretches(self, main: Spool) -> None:
        """A mail within a text, as a bounce quotes it: no reader of mail opens it, but people and some tools do."""
        for number, lines in enumerate(find_stretches(self._shelf.watch(main))):
            if number == MOST_STRETCHES:
                self._findings.add(Rule.LIMIT, self._leaf.part, f"more than {MOST_STRETCHES} stretches of base64")
                break
            self._add(f"stretch-{number + 1}", base64_text.decode_restarted(lines))

    def _add_charset(self, main: Spool) -> None:
        try:
            name = codecs.lookup(self._leaf.charset).name if self._leaf.charset else ""
        except (LookupError, ValueError):
            return
        if name.startswith(_TRANSCODED):
            self._add(f"charset-{name}", _transcode(_spooled(self._shelf.watch(main)), name))


def _transcode(pieces: Iterable[bytes], charset: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(charset)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _watch(pieces: Iterable[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        see(piece)
        yield piece


def _spooled(body: Readable) -> Iterator[bytes]:
    return Window(body).chunks(0, body.size)


def _find_blocks(body: Readable) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each block of a text: its kind, and its bytes. A block ends where the next begins."""
    window, at = Window(body), 0
    while at < body.size:
        piece = window.read(at, at + 256 * 1024)
        match = text_blocks.find_begin(piece)
        if match is None:
            at += max(1, len(piece) - _OVERLAP) if at + len(piece) < body.size else len(piece)
            # `^` is true at the begin of a piece: begin one where a line begins.
            at = window.find(b"\n", at) + 1 or body.size
            continue
        kind = next(name for name, value in match.groupdict().items() if value)
        at = window.find(b"\n", at + match.start()) + 1 or body.size
        lines = itertools.takewhile(lambda line: not text_blocks.BEGIN.match(line), _lines(body, at))
        yield kind, text_blocks.DECODERS[kind](lines)


def find_stretches(body: Readable) -> Iterator[Iterator[bytes]]:
    """Lines of base64 that follow each other, wherever they stand; each stretch is to be read before the next."""
    judge = _Base64Lines()
    for number, lines in itertools.groupby(_lines(body, 0, judge.is_dull), judge):
        if number:
            first = list(itertools.islice(lines, 3))
            if sum(map(len, first)) < _SHORTEST_STRETCH:
                continue
            yield itertools.chain(first, lines)  # noqa: B031  (it goes on where `first` ended)


class _Base64Lines:
    """Says of one line after the other to which stretch it belongs, 0 for none. A line shorter than the first behind
    which letters are left over is a stretch's last: what follows is not read on from amid four letters."""

    def __init__(self) -> None:
        self._number = self._width = self._letters = 0
        self._inside = False

    def is_dull(self, text: bytes) -> bool:
        """Whether no line of a text can belong to a stretch: most texts are of that kind."""
        return not self._inside and _ANY_LONG_LINE.search(text) is None

    def __call__(self, line: bytes) -> int:
        if not self._inside:
            if _LONG_LINE.fullmatch(line) is None:
                return 0
            self._number, self._width, self._letters = self._number + 1, len(line), 0
        elif _SHORT_LINE.fullmatch(line) is None:
            self._inside = False
            return 0
        self._letters += len(line.rstrip())
        self._inside = len(line) >= self._width or self._letters % 4 == 0
        return self._number


def _lines(body: Readable, start: int, is_dull: Callable[[bytes], bool] = lambda text: False) -> Iterator[bytes]:
    """Each with its end. Of a piece that is dull one empty line stands for all that are whole in it."""
    rest = b""
    for piece in Window(body).chunks(start, body.size):
        text, end, rest = (rest + piece).rpartition(b"\n")
        if end and is_dull(text + end):
            yield end
        elif end:
            for line in text.split(b"\n"):
                yield line + b"\n"
        if len(rest) > _LINE_LIMIT:
            yield rest
            rest = b""
    if rest:
        yield rest
