"""The words of `avsluice quarantine`.

Rules of this file: a password is no argument; the first word that cannot be an id is the policy file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from avsluice.kept import Filter
from inspection.record import is_id
from policy.address import Address
from policy.scalars import parse_duration, parse_size
from policy.verdict import Status

_EPILOG = """\
FILE is the policy; the entries are those of its quarantine and of those that gateways carry. Patterns may hold * and ?.

exit status:
  0  all done
  1  an entry was not there, was damaged, or a server refused it; the others were seen to
  2  nothing was attempted: bad usage, a policy with errors, no quarantine that can be read
"""


class Refused(ValueError):
    """What was asked for makes no sense; nothing was attempted."""


def add_actions(parser: argparse.ArgumentParser) -> None:
    """All actions with their own words."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", "what is kept, the oldest first", ids=False)
    show = _add(actions, "show", "all that is known of an entry")
    show.add_argument("--content", action="store_true", help="the first 64 KiB of the content, too, made harmless")
    _add_output(_add(actions, "export", "write the original bytes to standard output, a file or a directory"))
    delete = _add(actions, "delete", "remove entries")
    delete.add_argument("--all", action="store_true", help="every entry")
    expire = _add(actions, "expire", "remove what is older than the policy's max-age, and what a crash left", ids=False)
    expire.add_argument("--down-to", type=_size, metavar="SIZE", help="and the oldest, until no more than that is left")
    release = _add(actions, "release", "send mails on, to the server behind the gateway; put files somewhere")
    _add_output(release)
    _add_release(release)


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, *, ids: bool = True
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    words = "[FILE] ID" if ids else "FILE"
    parser.add_argument("words", nargs="*", metavar=words, help="the policy, and ids" if ids else "the policy")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the policy file, if not the first word")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    group = parser.add_argument_group("which entries")
    group.add_argument("--older", type=_duration, metavar="TIME", help="kept longer ago than e.g. 7d")
    if name == "expire":
        return parser
    group.add_argument("--newer", type=_duration, metavar="TIME", help="kept no longer ago than e.g. 2h")
    group.add_argument("--status", action="append", choices=[str(status) for status in Status], default=[])
    for what in ("virus", "sender", "recipient", "proxy", "tag"):
        group.add_argument(f"--{what}", metavar="PATTERN")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="PATH", help="a new file, a directory, or - for standard output")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")


def _add_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="remove the entry once everybody has got it")
    group = parser.add_argument_group("mails: by SMTP to the gateway's own next hop, unless")
    group.add_argument("--to", action="append", metavar="ADDRESS", help="to these instead of the original recipients")
    group.add_argument("--from", dest="new_sender", metavar="ADDRESS", help="the envelope's sender; '' for none")
    group.add_argument("--server", type=_address(25), metavar="HOST:PORT", help="to this SMTP server")
    group.add_argument("--imap", type=_address(143), metavar="HOST:PORT", help="by APPEND to this IMAP server")
    group.add_argument("--mailbox", help="of --imap; default: where it lay, else INBOX")
    group.add_argument("--tls", choices=("none", "starttls", "implicit"), help="default: none; the next hop's own")
    group.add_argument("--ca", type=Path, metavar="FILE", help="certificates to trust instead of the system's")
    group.add_argument("--no-verify", action="store_true", help="take any certificate")
    group.add_argument("--user", help="log in; the password is read from --password-file or AVSLUICE_PASSWORD")
    group.add_argument("--password-file", type=Path, metavar="FILE")


def split_words(arguments: argparse.Namespace) -> tuple[Path | None, list[str]]:
    """The policy file and the ids."""
    words: list[str] = list(arguments.words)
    if arguments.policy is not None:
        return arguments.policy, words
    return (Path(words[0]), words[1:]) if words and not is_id(words[0]) else (None, words)


def read_filter(arguments: argparse.Namespace) -> Filter:
    """The filters that were given."""
    return Filter(
        older=arguments.older,
        newer=arguments.newer,
        status=tuple(arguments.status),
        virus=arguments.virus,
        sender=arguments.sender,
        recipient=arguments.recipient,
        proxy=arguments.proxy,
        tag=arguments.tag,
    )


def _duration(text: str) -> float:
    return _tell(parse_duration, text)


def _size(text: str) -> int:
    return _tell(parse_size, text)


def _address(port: int) -> Callable[[str], Address]:
    return lambda text: _tell(lambda words: Address.parse(words, port), text)


def _tell[T](parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from why
