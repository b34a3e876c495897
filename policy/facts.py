"""What is known of an object, a mail or a session when the policy is asked.

Rules of this file: None means not known, and a condition on it does not hold; addresses may carry a port,
which is not looked at; nothing here is ever guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from policy.verdict import Status

type Direction = Literal["download", "upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """Who is talking to whom, and when (`at`: aware, or naive local time)."""

    client: str | None = None
    user: str | None = None
    server: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts(SessionFacts):
    """One HTTP or FTP object in one direction.

    `head` is its first 4 KiB (fewer at its end, or after one interval); None while it is not there yet.
    `magic` overrides what would be recognised in `head`, for scripted tests. `size` is in bytes.
    """

    direction: Direction = "download"
    method: str | None = None
    url: str | None = None
    host: str | None = None
    content_type: str | None = None
    filename: str | None = None
    size: int | None = None
    head: bytes | None = None
    magic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """One decoded MIME leaf, after its scan."""

    status: Status
    virus: str | None = None
    content_type: str | None = None
    filename: str | None = None
    size: int | None = None
    head: bytes | None = None
    magic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFacts(SessionFacts):
    """One mail, after its scan.

    `status` is the raw mail's part in the merge, where it has one; the documents' statuses always join it.
    `virus` is a name found in the raw mail alone.
    """

    direction: Direction = "download"
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    size: int | None = None
    status: Status | None = None
    virus: str | None = None
    documents: tuple[DocumentFacts, ...] = ()

    @property
    def viruses(self) -> tuple[str, ...]:
        """Every virus named in it, the raw mail's first."""
        names = (self.virus, *(d.virus for d in self.documents))
        return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDocument(DocumentFacts):
    """A document together with its mail, as a doc-acl of a mail proxy sees it."""

    client: str | None
    user: str | None
    server: str | None
    at: datetime | None
    direction: Direction
    sender: str | None
    recipients: tuple[str, ...]

    @property
    def viruses(self) -> tuple[str, ...]:
        """The document's own virus, if it has one."""
        return (self.virus,) if self.virus else ()
