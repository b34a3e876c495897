"""Where a mail goes that is released from the quarantine, and how: what SMTP and IMAP have in common.

Rules of this file: a password is never an argument; it goes over TLS, or to this machine; a certificate is verified
unless that was switched off by name.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from policy.address import Address

MOST = 256 * 1024 * 1024  # bytes of a mail that is released; it is held in memory
PASSWORD = "AVSLUICE_PASSWORD"  # noqa: S105 - the variable's name


class NotReleased(OSError):
    """The server was not reached, or refused; the text says what it answered."""


class NotReached(NotReleased):
    """Nobody was there to take it: another server may be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A mail server. `timeout` in seconds for each step."""

    address: Address
    tls: Literal["none", "starttls", "implicit"] = "none"
    ca: Path | None = None
    verify: bool = True
    user: str | None = None
    password: str | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.address.unix is not None:
            raise ValueError(f"{self.address}: a server is host:port")
        if self.user is not None and self.tls == "none" and not is_local(self.address.host):
            raise ValueError(f"a password would go to {self.address} unencrypted; say --tls starttls or implicit")

    def context(self) -> ssl.SSLContext:
        """For TLS. OSError where the CA file cannot be read."""
        context = ssl.create_default_context(cafile=self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def is_local(host: str) -> bool:
    """Whether it is this machine, by name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_password(file: Path | None) -> str | None:
    """The first line of the file, else what the environment has. OSError, ValueError."""
    if file is None:
        return os.environ.get(PASSWORD)
    with file.open(encoding="utf-8") as lines:
        return lines.readline(4096).rstrip("\r\n")
