"""What a process of the gateway sets up for itself: its user, its log, its descriptors.

Rules of this file: standard output is left to the audit log; privileges are dropped for good.
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
import resource
import sys

from inspection.record import visible

OURS = (
    "addons",
    "ftpgw",
    "inspection",
    "mailgw",
    "policy",
    "avsluice.hosting",
    "avsluice.link",
    "avsluice.supervisor",
    "avsluice.worker",
)


def become(user: str) -> None:
    """Be that user and nobody else, for good. Raises KeyError and OSError."""
    entry = pwd.getpwnam(user)
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    os.setgroups([entry.pw_gid, *groups])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


class LogLines(logging.Formatter):
    """What peers have written cannot steer a terminal, nor look like a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line; where a message has several, further ones are indented."""
        record.message = "\n    ".join(visible(line) for line in record.message.split("\n"))
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Ours from information on, all else from warnings on: a line for each connection is nobody's wish."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines())
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.addHandler(handler)
    for ours in OURS:
        logging.getLogger(ours).setLevel(logging.INFO)


def allow_many_files() -> None:
    """As many descriptors as we may have: a connection takes two, and many systems begin with 1024 in all."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
