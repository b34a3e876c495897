"""What a decision is: an action, its reason, and the whole way to it.

Rules of this file: decisions are data; a gateway carries them out in its own protocol's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from policy.verdict import Status


class Action(StrEnum):
    """The audit record's `action`."""

    ACCEPT = "accept"
    DENY = "deny"
    DEFER = "defer"
    DISCARD = "discard"
    REPLACE = "replace"
    CUT = "cut"


class Reason(StrEnum):
    """The audit record's `reason`: why something was not simply accepted."""

    VIRUS_FOUND = "virus-found"
    ANTIVIRUS_ERROR = "antivirus-error"
    ANTIVIRUS_STATUS = "antivirus-status"
    ACL = "acl"
    NO_ACL = "no-acl"
    PROTOCOL = "protocol"
    UPSTREAM = "upstream"
    CLIENT_GONE = "client-gone"


@dataclass(frozen=True, slots=True)
class Step:
    """One ACL that was looked at: whether it matched, and why not (or what followed)."""

    acl: str
    matched: bool
    why: str
    layer: str = "doc-acl"

    def __str__(self) -> str:
        return f"{self.layer} {self.acl}: {'matched' if self.matched else 'no match'}: {self.why}"


@dataclass(frozen=True, slots=True)
class Choice[A]:
    """The ACL that matched, or None where none did (or none can be told yet: `waits_for_head`)."""

    acl: A | None
    trace: tuple[Step, ...]
    waits_for_head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to an object. `acl` is the one that decided; `reason` is None for what is accepted."""

    action: Action
    reason: Reason | None = None
    acl: str | None = None
    trace: tuple[Step, ...] = ()
    quarantine: bool = False

    @property
    def passes(self) -> bool:
        """Whether the object is delivered."""
        return self.action is Action.ACCEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDecision:
    """What happens to one document of an accepted mail. `replace`: the file that takes its place."""

    action: Action
    reason: Reason | None = None
    acl: str | None = None
    trace: tuple[Step, ...] = ()
    replace: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDecision(Decision):
    """What happens to a mail. `status` is the merged one. `documents` is in the mail's order, and empty where
    no doc-acl was walked. `trace` holds the mail-acl's steps, then those of the document that decided."""

    status: Status
    documents: tuple[DocumentDecision, ...] = ()
    copy_to: tuple[str, ...] = ()
    prefix_subject: str | None = None
    reply: str | None = None
