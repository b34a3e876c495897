"""A mail as it was fetched and judged, for one answer or for those that follow.

Rules of this file: a copy owns its spools until `close`; what is sent of it is the covered form, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inspection.spool import Spool
from mailgw.dots import stuff
from mailgw.envelope import Envelope
from mailgw.outcome import MailOutcome
from mailgw.pop3.replies import Reply

_PIECE = 256 * 1024


@dataclass(slots=True)
class Copy:
    """`number` is the message's, `status` the server's answer to RETR."""

    number: int
    status: Reply
    envelope: Envelope
    mail: Spool
    outcome: MailOutcome

    @property
    def form(self) -> Spool:
        """What the client may have."""
        return self.outcome.form or self.mail

    def stuffed(self, size: int | None = None) -> Iterator[bytes]:
        """The first octets of it, or all, as they go over the wire, without the final dot."""
        return stuff(_read(self.form, self.form.size if size is None else size))

    def close(self) -> None:
        """Give the room back. May be called twice."""
        self.mail.close()
        self.outcome.close()


def _read(body: Spool, size: int) -> Iterator[bytes]:
    for offset in range(0, size, _PIECE):
        yield body.read(offset, min(_PIECE, size - offset))
