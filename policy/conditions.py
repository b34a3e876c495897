"""Entry conditions: what an ACL's `when` may ask, layer by layer, and whether it holds.

Rules of this file: all conditions of a `when` must hold, and any item of a list will do; each is compiled
once, at load, into a test that says why it does not hold; a layer lists the conditions that make sense there
and no others.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PrivateAttr

from policy.comparison import SizeBound
from policy.fields import OneOrMany, Words
from policy.hours import Hours
from policy.matching import Test, Why, compile_test
from policy.networks import Network, Server
from policy.section import Section
from policy.verdict import Status

type Directions = OneOrMany[Literal["download", "upload"]]

_OUTCOME = "is not known here: the ACL is chosen before the check; write accept-antivirus-status on the ACL"


class When(Section):
    """The conditions of one ACL. Without any it always holds."""

    _tests: tuple[Test, ...] = PrivateAttr(default=())

    def model_post_init(self, _context: object) -> None:
        """Compiles the conditions that are written, `magic` last: it alone may have to wait."""
        written = sorted(self.model_fields_set, key=lambda key: (key == "magic", key))
        self._tests = tuple(compile_test(key, getattr(self, key)) for key in written)

    def refuse(self, facts: object) -> Why:
        """None if every condition holds, else why the first one that does not, does not."""
        for test in self._tests:
            if (why := test(facts)) is not None:
                return why
        return None

    @property
    def always(self) -> bool:
        """Whether it holds whatever the facts are."""
        return not self._tests


class SessionWhen(When):
    """session-acl."""

    client: OneOrMany[Network] | None = None
    server: OneOrMany[Server] | None = None
    time: OneOrMany[Hours] | None = None


class CommandWhen(SessionWhen):
    """command-acl."""

    user: Words | None = None


class FtpWhen(CommandWhen):
    """doc-acl of ftp-proxy, and what HTTP shares with it."""

    refused: ClassVar = {
        "virus-status": _OUTCOME,
        "virus-name": _OUTCOME,
        **dict.fromkeys(("method", "url", "host", "content-type"), "is known in http-proxy only; take it out"),
    }

    direction: Directions | None = None
    extension: Words | None = None
    filename: Words | None = None
    magic: Words | None = None
    size: OneOrMany[SizeBound] | None = None


class HttpWhen(FtpWhen):
    """doc-acl of http-proxy."""

    method: Words | None = None
    url: Words | None = None
    host: Words | None = None
    content_type: Words | None = None


_NO_ENVELOPE = "is known in smtp-proxy only: there is no envelope here; take it out"


class Pop3MailWhen(CommandWhen):
    """mail-acl, as far as all mail proxies share it."""

    refused: ClassVar = {"sender": _NO_ENVELOPE, "recipient": _NO_ENVELOPE}

    size: OneOrMany[SizeBound] | None = None
    virus_status: OneOrMany[Status] | None = None
    virus_name: Words | None = None


class Pop3DocumentWhen(Pop3MailWhen):
    """doc-acl, as far as all mail proxies share it. `size` is the decoded document's."""

    content_type: Words | None = None
    extension: Words | None = None
    filename: Words | None = None
    magic: Words | None = None


class Imap4MailWhen(Pop3MailWhen):
    """mail-acl of imap4-proxy."""

    direction: Directions | None = None


class Imap4DocumentWhen(Pop3DocumentWhen):
    """doc-acl of imap4-proxy."""

    direction: Directions | None = None


class SmtpMailWhen(Pop3MailWhen):
    """mail-acl of smtp-proxy."""

    sender: Words | None = None
    recipient: Words | None = None


class SmtpDocumentWhen(Pop3DocumentWhen):
    """doc-acl of smtp-proxy."""

    sender: Words | None = None
    recipient: Words | None = None
