"""A line of one dot behind a bare LF: no end of a mail by RFC 1939, and one for clients that take LF for a line end.

Rules of this file: no I/O but reading the mail; what such a client would take for the next answers was never judged as
what it would take it for, so such a mail is not sent.
"""

from __future__ import annotations

import re

from mailgw.mime.window import CHUNK, Readable

_OVERLAP = 4
_FALSE_END = re.compile(rb"(?<!\r)\n\.\r?\n")


def has_false_end(mail: Readable) -> bool:
    """Whether there is one in the mail (not dot-stuffed: behind CRLF a dot is doubled on its way). Reads all of it."""
    for start in range(0, mail.size, CHUNK):
        data = mail.read(max(0, start - _OVERLAP), CHUNK + _OVERLAP)
        # Counting takes a tenth of the search, and of most mails it is all.
        if data.count(b"\n.") != data.count(b"\r\n.") and _FALSE_END.search(data, 1 if start > _OVERLAP else 0):
            return True
    return False
