"""A mail, read: its documents, each under every view that differs, and why it is ambiguous, if it is.

Rules of this file: the whole mail is never in memory; an ambiguous mail is one document; the views of every reading
are there to be searched all the same; what is opened here is closed by `Mail.close`, or at once where reading fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from inspection.spool import Spool, SpoolRoom
from mailgw.mime import base64_text, quoted_printable, second_opinion
from mailgw.mime.header import TooMuch
from mailgw.mime.rules import Ambiguity, Findings, Rule
from mailgw.mime.shelf import Shelf
from mailgw.mime.views import MOST_STRETCHES, Encoded, LeafViews, View, find_stretches
from mailgw.mime.walker import Limits, Part, Walk
from mailgw.mime.window import Readable, Window

__all__ = ["Document", "Limits", "Mail", "View", "read_mail"]

_PART_FIELD = re.compile(rb"^content-(?:type|transfer-encoding)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_OVERLAP = 64
_MOST_READINGS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A leaf of a mail, or an ambiguous mail as a whole (part ""). `start`, `body` and `end` are the mail's offsets:
    of the leaf's header, its encoded body, and that body's end."""

    part: str
    content_type: str
    filename: str | None
    size: int
    views: tuple[View, ...]
    encoding: str = "7bit"
    start: int = 0
    body: int = 0
    end: int = 0

    @property
    def content(self) -> Spool | None:
        """The leaf as RFC 2045 decodes it."""
        return self.views[0].body if self.views else None


@dataclass(slots=True, kw_only=True)
class Mail:
    """What `read_mail` found. `leaves` are as our reader sees them, also where the mail is ambiguous; `further` are
    views that belong to no leaf: what lies between parts, and other readings."""

    size: int
    leaves: tuple[Document, ...]
    further: tuple[View, ...]
    ambiguities: tuple[Ambiguity, ...]
    parts: tuple[Part, ...]
    _shelf: Shelf = field(repr=False)

    @property
    def ambiguous(self) -> bool:
        """True where two readers could see different parts, or a limit was reached: `unknown`, if nothing is found."""
        return bool(self.ambiguities)

    @property
    def views(self) -> Iterator[View]:
        """Everything that is to be checked, besides the raw mail."""
        for leaf in self.leaves:
            yield from leaf.views
        yield from self.further

    @property
    def documents(self) -> tuple[Document, ...]:
        """The mail's documents; of an ambiguous mail one, with every view."""
        if not self.ambiguities:
            return self.leaves
        whole = Document(
            part="",
            content_type="message/rfc822",
            filename=None,
            size=self.size,
            views=tuple(self.views),
            end=self.size,
        )
        return (whole,)

    def close(self) -> None:
        """Every view is let go. May be called twice."""
        self._shelf.close()


def read_mail(
    body: Readable, room: SpoolRoom, limits: Limits | None = None, stop: Callable[[], bool] = lambda: False
) -> Mail:
    """Reads a mail of original wire bytes (not dot-stuffed). Takes a while: call it in a thread; once `stop` says so
    it ends within a piece.

    Raises SpoolFull, OSError, Stopped only: the mail is an `error` then. The caller closes what is returned."""
    reading = _Reading(body, Shelf(room, limits or Limits(), stop))
    try:
        return reading.read()
    except BaseException:
        reading.shelf.close()
        raise


class _Reading:
    """One reading of one mail."""

    def __init__(self, body: Readable, shelf: Shelf) -> None:
        self.shelf = shelf
        self._body = shelf.watch(body)
        self._findings = Findings()
        self._further: list[View] = []
        self._seen: set[str] = set()

    def read(self) -> Mail:
        walk = self._walk(self._body, self._findings)
        views: list[list[View]] = []
        try:
            self._read_all(walk, views)
        except TooMuch as why:
            self._findings.add(Rule.LIMIT, "", str(why))
        return Mail(
            size=self._body.size,
            leaves=tuple(_document(leaf, found) for leaf, found in zip(walk.leaves, views, strict=False)),
            further=tuple(self._further),
            ambiguities=tuple(self._findings),
            parts=tuple(walk.parts),
            _shelf=self.shelf,
        )

    def _read_all(self, walk: Walk, views: list[list[View]]) -> None:
        """The views of each leaf, then those of everything else. TooMuch leaves what there is until then."""
        leaves = walk.leaves
        for leaf in leaves:
            views.append(self._read_leaf(walk.window, leaf, self._findings))
        self._seen.update(view.body.sha256 for found in views for view in found)
        self._read_between(walk)
        self._ask_second(walk.window, leaves, views)
        if self._findings:
            self._read_other_ways(walk)
            self._read_blocks()

    def _walk(self, body: Readable, findings: Findings, *, last: bool = False) -> Walk:
        walk = Walk(body, self.shelf.limits, findings, last=last)
        try:
            walk.run()
        except TooMuch as why:
            findings.add(Rule.LIMIT, "", str(why))
        return walk

    def _read_leaf(self, window: Window, leaf: Part, findings: Findings) -> list[View]:
        if leaf.content.type.startswith("message/") and _has_part_field(window, leaf.body, leaf.end):
            findings.add(Rule.HIDDEN_PART, leaf.label, f"fields of a part in {leaf.content.type}")
        elif _PART_FIELD.match(window.read(leaf.body, min(leaf.end, leaf.body + 4096)).lstrip()):
            findings.add(Rule.HIDDEN_PART, leaf.label, "a body that begins with fields of a part")
        encoded = Encoded(
            window=window,
            start=leaf.body,
            end=leaf.end,
            part=leaf.label,
            type=leaf.content.type,
            encoding=leaf.content.encoding,
            charset=leaf.content.charset,
        )
        return LeafViews(encoded, self.shelf, findings).read()

    def _read_between(self, walk: Walk) -> None:
        """What stands before the first part and behind the last: a text that some readers show, or take for parts."""
        for part in walk.parts:
            for name, (start, end) in (("preamble", part.preamble), ("epilogue", part.epilogue)):
                if part.is_leaf or not walk.window.read(start, min(end, start + 4096)).strip():
                    continue
                if _has_part_field(walk.window, start, end):
                    self._findings.add(Rule.HIDDEN_PART, part.number, f"fields of a part in the {name}")
                text = Encoded(
                    window=walk.window,
                    start=start,
                    end=end,
                    part=part.number,
                    type="text/plain",
                    encoding="7bit",
                    charset="",
                )
                self._keep(name, LeafViews(text, self.shelf, Findings()).read())

    def _keep(self, name: str, views: list[View]) -> None:
        """Views that belong to no leaf, each content once."""
        for view in views:
            if view.body.sha256 in self._seen or not view.body.size:
                self.shelf.drop(view.body)
            else:
                self._seen.add(view.body.sha256)
                self._further.append(View("-".join(filter(None, (name, view.name))), view.body))

    def _ask_second(self, window: Window, leaves: list[Part], views: list[list[View]]) -> None:
        """The standard library's opinion; where the mail is ambiguous already, only for what it decodes."""
        if any(found.rule is Rule.LIMIT for found in self._findings):
            return
        sample = second_opinion.choose_sample(leaves)
        message = second_opinion.parse(window, leaves, sample)
        if difference := second_opinion.find_difference(message, leaves, views, sample):
            self._findings.add(Rule.SECOND_OPINION, "", difference)
        if self._findings and message is not None:
            for part in second_opinion.list_leaves(message):
                if data := second_opinion.decode(part):
                    self._keep("email", [View("", self.shelf.store([data]))])

    def _read_other_ways(self, walk: Walk) -> None:
        """The last of contradicting fields instead of the first; encoded containers decoded, and read."""
        waiting = [walk]
        rules = {found.rule for found in self._findings}
        if rules & {Rule.DUPLICATE_FIELD, Rule.HEADER_LINE, Rule.FILENAME}:
            waiting.append(self._walk(self._body, Findings(), last=True))
            self._keep_leaves("last", waiting[-1])
        for number, source in enumerate(waiting):
            for part in source.parts:
                if len(waiting) < _MOST_READINGS + number and _is_encoded_container(part):
                    waiting.append(self._open_container(source.window, part))
                    self._keep_leaves("decoded", waiting[-1])
            if len(waiting) >= _MOST_READINGS:
                break

    def _read_blocks(self) -> None:
        """Every stretch of base64 there is, whatever stands around it: whoever decodes it is not for us to know."""
        for number, lines in enumerate(find_stretches(self._body)):
            if number == MOST_STRETCHES:
                self._findings.add(Rule.LIMIT, "", f"more than {MOST_STRETCHES} stretches of base64")
                break
            self._keep(f"stretch-{number + 1}", [View("", self.shelf.store(base64_text.decode_restarted(lines)))])
        window = Window(self._body)
        whole = self.shelf.store(quoted_printable.decode(window.chunks(0, window.size)))
        self._keep("quoted-printable", [View("", whole)])

    def _open_container(self, window: Window, part: Part) -> Walk:
        decode = base64_text.decode if part.content.encoding == "base64" else quoted_printable.decode

        def pieces() -> Iterator[bytes]:
            if part.content.boundary:
                yield b'Content-Type: multipart/mixed; boundary="' + part.content.boundary + b'"\r\n\r\n'
            yield from decode(window.chunks(part.body, part.end))

        return self._walk(self.shelf.watch(self.shelf.store(pieces())), Findings())

    def _keep_leaves(self, name: str, walk: Walk) -> None:
        for leaf in walk.leaves:
            self._keep(f"{name}-{leaf.label}", self._read_leaf(walk.window, leaf, Findings()))


def _is_encoded_container(part: Part) -> bool:
    return not part.is_leaf and part.content.encoding in ("base64", "quoted-printable")


def _has_part_field(window: Window, start: int, end: int) -> bool:
    tail = b"\n"
    for piece in window.chunks(start, end):
        if _PART_FIELD.search(tail + piece):
            return True
        tail = piece[-_OVERLAP:].rpartition(b"\n")[2].rjust(1, b"x")
    return False


def _document(leaf: Part, views: list[View]) -> Document:
    return Document(
        part=leaf.label,
        content_type=leaf.content.type,
        filename=leaf.content.filename,
        size=views[0].body.size,
        views=tuple(views),
        encoding=leaf.content.encoding,
        start=leaf.start,
        body=leaf.body,
        end=leaf.end,
    )
