"""Mails that go round in circles (RFC 5321, 6.3).

Rules of this file: no I/O but reading the mail's beginning; the gateway adds no Received of its own, it counts those of
the servers around it.
"""

from __future__ import annotations

import re

from mailgw.smtp.replies import Reply
from scanners.engine import Body

MOST_HOPS = 100
"""RFC 5321: no fewer."""
LOOP = Reply.make(554, "5.4.6", "too many hops: the mail goes round in circles")
_READ = 256 * 1024  # octets of the header that are looked at
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


def find_loop(mail: Body) -> Reply | None:
    """The refusal of a mail with more than MOST_HOPS fields Received."""
    head = mail.read(0, _READ)
    end = head.find(b"\r\n\r\n")
    count = sum(1 for _ in _RECEIVED.finditer(head, 0, end if end >= 0 else len(head)))
    return LOOP if count > MOST_HOPS else None
