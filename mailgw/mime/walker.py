"""Where the parts of a mail lie: one pass over its bytes, by offsets, without recursion.

Rules of this file: every byte is looked at once; the innermost open boundary counts, as any open one does; what
readers disagree on is told to the findings, and the walk goes on; a limit ends it (TooMuch).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailgw.mime.content import Content, read_content
from mailgw.mime.header import Header, HeaderParser, TooMuch, read_header
from mailgw.mime.rules import Findings, Rule
from mailgw.mime.window import Readable, Window

OPENED = frozenset({"message/rfc822", "message/global", "message/news"})
"""Messages within a message: their parts are parts of the mail."""
_CLOSED = frozenset(
    f"message/{kind}"
    for kind in (
        "delivery-status",
        "disposition-notification",
        "feedback-report",
        "global-delivery-status",
        "global-disposition-notification",
        "global-headers",
        "tracking-status",
        "http",
        "sip",
        "imdn+xml",
    )
)
_FRAGMENTS = frozenset({"message/partial", "message/external-body"})
_ASCII_FREE = ("utf-7", "utf7", "utf-16", "utf16", "utf-32", "utf32", "ucs", "ebcdic", "cp037", "ibm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a mail is read; above it is `unknown`. `header`: bytes of all
    headers together; `lines`: those that begin with two hyphens; `files`: views that take one each."""

    depth: int = 30
    parts: int = 1000
    header: int = 1 << 20
    lines: int = 300_000
    views: int = 5000
    files: int = 256


@dataclass(slots=True, kw_only=True)
class Part:
    """One part: container or leaf. `number` as IMAP numbers it, "" for the whole mail where it is no leaf.

    `start` is the header's, `body` the body's offset, `end` the body's end, without the line end before a boundary.
    `preamble` and `epilogue` of a multipart are (start, end), empty where there is nothing.
    """

    number: str
    start: int
    body: int
    header: Header
    content: Content
    parent: Part | None
    boundaries: tuple[bytes, ...]
    end: int = 0
    children: list[Part] = field(default_factory=list)
    preamble: tuple[int, int] = (0, 0)
    epilogue: tuple[int, int] = (0, 0)

    @property
    def label(self) -> str:
        """The number of a leaf: also the only part of a message has one (RFC 9051 6.4.5)."""
        if self.parent is not None and not self.parent.is_message:
            return self.number
        return f"{self.number}.1" if self.number else "1"

    @property
    def is_leaf(self) -> bool:
        """True where it is a document of its own."""
        return not (self.is_message or (self.content.is_multipart and self.content.boundary))

    @property
    def is_message(self) -> bool:
        """True where its body is a mail."""
        return self.content.type in OPENED


class Walk:
    """One walk of one mail. After `run`, `parts` are all parts in their order; `root` is the mail itself.

    With `last`, of several contradicting fields the last one counts."""

    def __init__(self, body: Readable, limits: Limits, findings: Findings, *, last: bool = False) -> None:
        self.window = Window(body)
        self.parts: list[Part] = []
        self._limits = limits
        self._findings = findings
        self._last = last
        self._parser = HeaderParser(findings)
        self._open: list[Part] = []  # containers whose end was not seen, the outermost first
        self._stops: tuple[bytes, ...] = ()  # "--" and the boundary of each multipart that is open
        self._folded: tuple[bytes, ...] = ()  # the same in lower case
        self._ended: dict[bytes, Part] = {}  # boundaries that were closed, by their level's part
        self._header_bytes = 0
        self._lines = 0

    def run(self) -> None:
        """Walks. Raises TooMuch at a limit; what was seen before is in `parts`."""
        try:
            self._walk()
        finally:
            self._end_all(self.window.size)

    @property
    def leaves(self) -> list[Part]:
        """The parts that are documents."""
        return [part for part in self.parts if part.is_leaf]

    def _walk(self) -> None:
        part = self._enter_deep(0, None)
        at = part.body
        while (found := self._next_boundary(at, part)) is not None:
            level, before, closing, at = found
            part = self._close_above(level, before)
            if closing:
                self._end_multipart(part, at)
            else:
                part = self._enter_deep(at, part)
                at = part.body

    def _enter_deep(self, start: int, parent: Part | None) -> Part:
        """The part that begins at `start`; where that is a message, what begins in it."""
        part = self._enter(start, parent)
        while not part.is_leaf:
            if not part.is_message:
                self._open_multipart(part)
                break
            self._open.append(part)
            part = self._enter(part.body, part)
        return part

    def _enter(self, start: int, parent: Part | None) -> Part:
        """The part that begins at `start`."""
        if len(self.parts) >= self._limits.parts:
            raise TooMuch(f"more than {self._limits.parts} parts")
        if len(self._open) > self._limits.depth:
            raise TooMuch(f"deeper than {self._limits.depth}")
        number = self._number(parent)
        block, body, ended = read_header(
            self.window, start, self._limits.header - self._header_bytes, self._stops if parent else ()
        )
        self._header_bytes += len(block)
        header = self._parser.parse(block, start, body, number)
        if not ended and parent is not None:
            self._findings.add(Rule.HEADER_END, number, "no empty line behind the header")
        digest = parent is not None and parent.content.type == "multipart/digest"
        content = read_content(
            header, number, self._findings, "message/rfc822" if digest else "text/plain", last=self._last
        )
        part = Part(
            number=number,
            start=start,
            body=body,
            end=body,
            header=header,
            content=content,
            parent=parent,
            boundaries=tuple(stop[2:] for stop in self._stops),
        )
        self.parts.append(part)
        if parent is not None:
            parent.children.append(part)
        self._check(part)
        return part

    def _number(self, parent: Part | None) -> str:
        if parent is None:
            return ""
        if parent.is_message:
            return parent.number  # a message's multipart has no number of its own (RFC 9051 6.4.5)
        count = str(len(parent.children) + 1)
        return f"{parent.number}.{count}" if parent.number else count

    def _check(self, part: Part) -> None:
        content = part.content
        container = content.is_multipart or content.type in OPENED
        if container and content.encoding in ("base64", "quoted-printable"):
            self._findings.add(Rule.ENCODED_CONTAINER, part.number, f"{content.type} in {content.encoding}")
        if container and any(name in content.charset for name in _ASCII_FREE):
            self._findings.add(Rule.CHARSET, part.number, f"{content.type} in {content.charset}")
        if content.type in _FRAGMENTS:
            self._findings.add(Rule.FRAGMENT, part.number, content.type)
        elif content.type.startswith("message/") and content.type not in OPENED | _CLOSED:
            self._findings.add(Rule.MESSAGE_TYPE, part.number, content.type)
        if part.parent is None or part.parent.is_message:
            self._check_version(part)

    def _check_version(self, part: Part) -> None:
        versions = part.header.values("mime-version")
        plain = part.content.type.startswith("text/") and part.content.encoding in ("7bit", "8bit", "binary")
        if versions and versions[0].partition(b"(")[0].strip() != b"1.0":
            self._findings.add(Rule.MIME_VERSION, part.number, "not 1.0")
        elif not versions and not plain:
            self._findings.add(Rule.MIME_VERSION, part.number, "absent")

    def _open_multipart(self, part: Part) -> None:
        stop = self._stop(part)
        self._open.append(part)
        if any(stop.startswith(other) or other.startswith(stop) for other in (*self._stops, *self._ended)):
            self._findings.add(Rule.BOUNDARY_CLASH, part.number, "a boundary that is the begin of another")
        self._count_stops()

    def _count_stops(self) -> None:
        self._stops = tuple(self._stop(part) for part in self._open if not part.is_message)
        self._folded = tuple(stop.lower() for stop in self._stops)

    @staticmethod
    def _stop(part: Part) -> bytes:
        return b"--" + (part.content.boundary or b"")

    def _next_boundary(self, at: int, part: Part) -> tuple[int, int, bool, int] | None:
        """The next boundary line of an open multipart: its level, its offset, whether it closes, what follows it."""
        while (at := self.window.find_dashes(at)) >= 0:
            self._lines += 1
            if self._lines > self._limits.lines:
                raise TooMuch(f"more than {self._limits.lines} lines that begin with two hyphens")
            line, following = self.window.line(at)
            bare = line.rstrip()
            if line.lower().startswith(self._folded):
                level = self._judge(line, bare, at, part)
                if level is not None:
                    return level, at, bare != self._stop(self._open[level]), following
            elif bare in self._ended or bare.removesuffix(b"--") in self._ended:
                self._findings.add(Rule.AFTER_END, part.number, "a boundary behind its own end")
            at = following
        return None

    def _judge(self, line: bytes, bare: bytes, at: int, part: Part) -> int | None:
        """The level whose boundary the line is, the innermost of several; what is odd about it is told."""
        text = line.rstrip(b"\n").removesuffix(b"\r")
        level = None
        for number in range(len(self._open) - 1, -1, -1):
            stop = self._stop(self._open[number])
            if not self._open[number].is_message and bare in (stop, stop + b"--"):
                level = number
                break
        if bare != text or level is None:
            self._findings.add(Rule.BOUNDARY_LINE, part.number, "a boundary with something about it")
        self._check_line_ends(line, at, part)
        return level

    def _check_line_ends(self, line: bytes, at: int, part: Part) -> None:
        before = self.window.read(max(0, at - 2), at)
        crlf = self._parser.crlf
        odd = before[-1:] != b"\n" or before.endswith(b"\r\n") is not crlf
        if before and crlf is not None and odd:
            self._findings.add(Rule.LINE_ENDS, part.number, "another line end before a boundary")
        if (b"\r" in line[:-2]) or (line.endswith(b"\n") and line.endswith(b"\r\n") is not crlf):
            self._findings.add(Rule.LINE_ENDS, part.number, "another line end behind a boundary")

    def _close_above(self, level: int, at: int) -> Part:
        """A boundary of `level` at `at` ends everything deeper. Returns the level's multipart."""
        end = self._before_line_end(at)
        for part in self._open[level + 1 :]:
            part.end = end
            if not part.is_message:
                self._end_unclosed(part, end)
        container = self._open[level]
        del self._open[level + 1 :]
        self._count_stops()
        if container.children:
            self._end_leaf(container.children[-1], end)
        else:
            container.preamble = (container.body, max(container.body, end))
        return container

    def _end_leaf(self, part: Part, end: int) -> None:
        """The end of the deepest part on the right edge."""
        while True:
            part.end = max(part.body, end)
            if part.is_leaf or not part.children:
                return
            if part.epilogue != (0, 0):
                part.epilogue = (part.epilogue[0], max(part.epilogue[0], end))
                return
            part = part.children[-1]

    def _end_unclosed(self, part: Part, end: int) -> None:
        part.end = max(part.body, end)
        rule = Rule.NO_END if part.children else Rule.NO_PART
        self._findings.add(rule, part.number, f"{part.content.type} is not closed")
        if not part.children:
            part.preamble = (part.body, part.end)

    def _end_multipart(self, part: Part, at: int) -> None:
        """Its closing boundary was seen; what follows, from `at`, is its epilogue."""
        part.epilogue = (at, at)
        if not part.children:
            self._findings.add(Rule.NO_PART, part.number, f"{part.content.type} without a part")
        self._open.remove(part)
        self._ended[self._stop(part)] = part
        self._count_stops()

    def _end_all(self, end: int) -> None:
        for part in self._open:
            part.end = end
            if not part.is_message:
                self._end_unclosed(part, end)
        if self.parts:
            self._end_leaf(self.parts[0], end)

    def _before_line_end(self, at: int) -> int:
        """The line end before a boundary is the boundary's (RFC 2046 5.1.1)."""
        before = self.window.read(max(0, at - 2), at)
        if before.endswith(b"\r\n"):
            return at - 2
        return at - 1 if before[-1:] in (b"\n", b"\r") else at
