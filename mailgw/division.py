"""A mail as its documents: what the judge has scanned, one by one.

Rules of this file: what the reader finds ambiguous is one document, the whole mail; whoever divided a mail closes the
division; dividing is done off the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inspection.spool import SpoolRoom
from scanners.engine import Body


@dataclass(frozen=True, slots=True)
class Document:
    """One decoded leaf; `part` is its place ("1.2"). `ambiguous`: two readers could see something else in it."""

    part: str
    body: Body
    content_type: str | None = None
    filename: str | None = None
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Division:
    """`raw` is the mail itself, scanned besides; None where a document is that already."""

    documents: Sequence[Document]
    raw: Document | None = None
    findings: Sequence[str] = ()
    closers: Sequence[Callable[[], None]] = field(default=())

    def close(self) -> None:
        """Give the decoded documents' room back."""
        for close in self.closers:
            close()


async def divide(mail: Body, room: SpoolRoom) -> Division:
    """The mail's documents. Until there is a reader of MIME: one, the whole mail."""
    return Division((Document("1", mail, "message/rfc822"),))
