"""IMAP commands as a client sends them (RFC 9051, 6).

Rules of this file: no I/O; what is not in the table below is refused; what goes on to the server has been understood as
far as it carries mail, logins, or another way to either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailgw.imap.units import Unit

_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]{1,128}")
_HEAD = re.compile(rb"([A-Za-z0-9-]{1,20})(?: ([^\r\n]*))?")
_ATOM = re.compile(rb"[^\x00-\x20\x7f(){%*\"\\]+")  # an astring's: 8-bit octets and ] are taken
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*)"')
_LITERAL = re.compile(rb"\0(\d+)\0")
_BARE = re.compile(rb"[\r\n]")
_ALMOST_LITERAL = re.compile(rb"\{[^{}]*\}\s*\Z")  # another reader could wait for octets behind it

_IN_MAILBOX = frozenset("SEARCH STORE COPY MOVE EXPUNGE SORT THREAD".split())
_ELSEWHERE = frozenset(
    "CAPABILITY NOOP LOGOUT ID CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB STATUS NAMESPACE CHECK"
    " GETQUOTA GETQUOTAROOT SETQUOTA GETACL SETACL DELETEACL LISTRIGHTS MYRIGHTS".split()
)
RELAYED = _ELSEWHERE | _IN_MAILBOX | {f"UID {verb}" for verb in _IN_MAILBOX}
"""Passed on as they are."""

OURS = frozenset(
    [*"STARTTLS LOGIN AUTHENTICATE ENABLE SELECT EXAMINE CLOSE UNSELECT APPEND IDLE FETCH".split(), "UID FETCH"]
)
"""Looked at more closely."""

BEFORE_LOGIN = frozenset({"CAPABILITY", "NOOP", "LOGOUT", "ID", "STARTTLS", "LOGIN", "AUTHENTICATE"})
AT_LOGIN = frozenset({"STARTTLS", "LOGIN", "AUTHENTICATE"})


class BadCommand(ValueError):
    """A command that is refused without asking the server. `word` is NO or BAD; `code` a response code, or ""."""

    def __init__(self, text: str, *, tag: bytes = b"*", word: str = "BAD", code: str = "") -> None:
        super().__init__(text)
        self.text, self.tag, self.word, self.code = text, tag, word, code


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in capitals, with UID where that stands before it; `rest` is what follows, flat."""

    tag: bytes
    verb: str
    rest: bytes
    unit: Unit


def parse_command(unit: Unit) -> Command:
    """A command from a unit. Raises BadCommand."""
    flat = unit.flat()
    tag = read_tag(flat)
    if any(_BARE.search(text[:-2]) for text in unit.texts):
        raise BadCommand("a bare CR in a command", tag=tag)
    if _ALMOST_LITERAL.search(flat):
        raise BadCommand("braces at the end of a line", tag=tag)
    if tag == b"*" or flat[len(tag) : len(tag) + 1] != b" ":
        raise BadCommand("a tag and a command are needed")
    verb, rest = _split(flat[len(tag) + 1 :], tag)
    if verb == "UID":
        further, rest = _split(rest, tag)
        verb = f"UID {further}"
    return Command(tag, verb, rest, unit)


def read_tag(line: bytes) -> bytes:
    """The tag that a line begins with; "*" where it has none."""
    found = _TAG.match(line)
    return found[0] if found and line[found.end() : found.end() + 1] in (b" ", b"", b"\r") else b"*"


def _split(text: bytes, tag: bytes) -> tuple[str, bytes]:
    found = _HEAD.fullmatch(text)
    if found is None:
        raise BadCommand("no command", tag=tag)
    return found[1].decode("ascii").upper(), found[2] or b""


def read_astring(command: Command, at: int = 0) -> tuple[bytes, int]:
    """The string that stands in `rest` at an offset, and the offset behind it. Raises BadCommand."""
    if (quoted := _QUOTED.match(command.rest, at)) is not None:
        return re.sub(rb"\\(.)", rb"\1", quoted[1]), quoted.end()
    if (literal := _LITERAL.match(command.rest, at)) is not None:
        return command.unit.literals[int(literal[1])].read(0, 1 << 20), literal.end()
    if (atom := _ATOM.match(command.rest, at)) is not None:
        return atom[0], atom.end()
    raise BadCommand("a string is needed", tag=command.tag)
