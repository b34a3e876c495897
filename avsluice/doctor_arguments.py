"""The words of `avsluice doctor`.

Rules of this file: a password is no argument, and stands in no message; what could not be meant is refused before
anything is asked.
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from pathlib import Path

from avsluice.courier import PASSWORD, read_password
from avsluice.passages.files import Login
from avsluice.passages.mails import Addresses
from avsluice.passages.round import Means
from avsluice.smtp_release import Envelope
from policy.model import Policy

_EPILOG = """\
Gateways are asked at the addresses where the policy has them listen. Run it where clients may connect from.

exit status:
  0  every engine that is used does its work, and no gateway that runs let EICAR pass
  1  one does not, or let it pass, or did not let a clean object pass
  2  bad input; nothing was asked
"""


def add_words(parser: argparse.ArgumentParser) -> None:
    """FILE, and what gateways need to be tried."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    parser.add_argument("--json", action="store_true", help="one JSON object for everything")
    group = parser.add_argument_group("gateways")
    group.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these only, e.g. ftp-proxy.FTP")
    group.add_argument("--ftp-login", metavar="USER", help="an account behind the ftp-proxy (USER@HOST:PORT)")
    hint = f"its password; else {PASSWORD} is, or it is asked for"
    group.add_argument("--ftp-password-file", type=Path, metavar="FILE", help=hint)
    group.add_argument("--ftp-directory", default="", metavar="DIR", help="where a file may be stored and deleted")
    group.add_argument("--mail-to", metavar="ADDRESS", help="who gets the clean mail by the smtp-proxy")
    group.add_argument("--mail-from", metavar="ADDRESS", help="its sender, the same without it; '' for none")


def read_means(policy: Policy, arguments: argparse.Namespace) -> Means:
    """ValueError, OSError for what cannot be meant."""
    labels = {label for label, _ in policy.gateways()}
    for label in arguments.only:
        if label not in labels:
            raise ValueError(f"--only {label}: there is no such gateway; there are {', '.join(sorted(labels))}")
    return Means(login=_read_login(arguments), addresses=_read_addresses(arguments), only=arguments.only)


def _read_login(arguments: argparse.Namespace) -> Login | None:
    user: str | None = arguments.ftp_login
    if user is None:
        return None
    password = read_password(arguments.ftp_password_file)
    if password is None:
        if not sys.stdin.isatty():
            raise ValueError(f"--ftp-login needs a password: --ftp-password-file FILE, or {PASSWORD}")
        password = getpass.getpass(f"Password of {user}: ")
    for what, text in (("--ftp-login", user), ("the password", password), ("--ftp-directory", arguments.ftp_directory)):
        if re.search(r"[\x00-\x1f\x7f]", text):
            raise ValueError(f"{what} has control characters in it")
    return Login(user, password, arguments.ftp_directory)


def _read_addresses(arguments: argparse.Namespace) -> Addresses | None:
    to: str | None = arguments.mail_to
    if to is None:
        if arguments.mail_from is not None:
            raise ValueError("--mail-from goes with --mail-to")
        return None
    sender = to if arguments.mail_from is None else arguments.mail_from
    if not Envelope(sender=sender, recipients=[to]).is_ascii:
        raise ValueError("--mail-to and --mail-from are ASCII here")
    return Addresses(to, sender)
