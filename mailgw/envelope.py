"""Whose mail it is: what a mail gateway knows of a mail besides its octets.

Rules of this file: plain data; addresses as the peers gave them, without angle brackets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from inspection.audit import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`id` is the one that every trace of the mail carries; `engines` are the names of the antiviruses to ask, None
    where the policy says that mail is not scanned."""

    id: str = field(default_factory=new_id)
    session: str
    client: str | None = None
    server: str | None = None
    user: str | None = None
    direction: Literal["download", "upload"] = "upload"
    helo: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    mail_options: tuple[str, ...] = ()
    engines: tuple[str, ...] | None = ()
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
