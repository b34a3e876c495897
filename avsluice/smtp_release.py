"""A mail out of the quarantine, handed to an SMTP server.

Rules of this file: the mail's own bytes are what was kept, with our two lines on top; line ends are made CRLF, for a
bare CR or LF could end the message early at some servers (SMTP smuggling); a recipient who is refused is told.
"""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from avsluice.courier import NotReached, NotReleased, Server

_LINE_END = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f<>]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`sender` "" is the null reverse path. ValueError for what is no address."""

    sender: str
    recipients: Sequence[str]

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("it has no recipients of its own; name them with --to")
        for address in (self.sender, *self.recipients):
            if _FORBIDDEN.search(address) or len(address) > 320:
                raise ValueError(f"{address!r} is no mail address")

    @property
    def is_ascii(self) -> bool:
        """False where SMTPUTF8 is needed."""
        return all(address.isascii() for address in (self.sender, *self.recipients))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who got it; who did not, with the server's words."""

    recipients: list[str]
    refused: dict[str, str] = field(default_factory=dict)


def seal(mail: bytes, entry: str, now: datetime) -> bytes:
    """The mail as it is sent: two lines of trace on top of it (RFC 5321 section 4.4), its line ends made CRLF."""
    trace = (
        f"Received: by {socket.getfqdn()} (avsluice quarantine release)\r\n"
        f"\tid {entry}; {format_datetime(now)}\r\n"
        f"X-Sluice-Quarantine-Id: {entry}\r\n"
    )
    return trace.encode("ascii", "replace") + _LINE_END.sub(b"\r\n", mail)


def send(server: Server, envelope: Envelope, mail: bytes) -> Outcome:
    """Blocks until the server has taken the mail. Raises NotReleased; then nobody got it, as far as can be known."""
    try:
        with closing(_reach(server)) as link:
            refused = link.sendmail(envelope.sender, envelope.recipients, mail, _options(link, envelope, mail))
            with suppress(OSError):  # it has the mail, whatever it says to our goodbye
                link.quit()
    except smtplib.SMTPRecipientsRefused as error:
        words = "; ".join(f"{address}: {_spell(*reply)}" for address, reply in error.recipients.items())
        raise NotReleased(f"{server.address}: every recipient was refused: {words}") from error
    except smtplib.SMTPResponseException as error:
        raise NotReleased(f"{server.address}: {_spell(error.smtp_code, error.smtp_error)}") from error
    except NotReleased:
        raise
    except (OSError, ValueError) as error:
        # SMTPException is an OSError; a ValueError is what smtplib will not put in a line.
        raise NotReleased(f"{server.address}: {error}") from error
    words_of = {address: _spell(*reply) for address, reply in refused.items()}
    return Outcome([address for address in envelope.recipients if address not in words_of], words_of)


def _reach(server: Server) -> smtplib.SMTP:
    try:
        return _connect(server)
    except smtplib.SMTPResponseException:
        raise
    except OSError as error:
        raise NotReached(f"{server.address}: {error}") from error


def _connect(server: Server) -> smtplib.SMTP:
    host, port = server.address.host, server.address.port
    if server.tls == "implicit":
        link: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=server.timeout, context=server.context())
    else:
        link = smtplib.SMTP(host, port, timeout=server.timeout)
    try:
        if server.tls == "starttls":
            link.starttls(context=server.context())
        link.ehlo_or_helo_if_needed()
        if server.user is not None:
            link.login(server.user, server.password or "")
    except BaseException:
        link.close()
        raise
    return link


def _options(link: smtplib.SMTP, envelope: Envelope, mail: bytes) -> list[str]:
    options = ["BODY=8BITMIME"] if link.has_extn("8bitmime") and not mail.isascii() else []
    if not envelope.is_ascii:
        if not link.has_extn("smtputf8"):
            raise ValueError("an address is not ASCII, and the server does not offer SMTPUTF8")
        options.append("SMTPUTF8")
    return options


def _spell(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "backslashreplace") if isinstance(words, bytes) else words
    return f"{code} {' '.join(text.split())}"
