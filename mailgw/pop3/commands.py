"""POP3 commands as a client sends them (RFC 1939, 2449, 2595, 5034).

Rules of this file: no I/O; what goes on to the server is made anew from what was understood, and holds no control
character; a message is a number; what is not named here is not relayed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_COMMAND = 512  # octets with line end; RFC 2449, 4: 255
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERB = re.compile(rb"[A-Za-z]{3,8}")
_NUMBER = re.compile(r"0*[1-9][0-9]{0,9}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)

ANY_TIME = frozenset({"CAPA", "QUIT"})
BEFORE_LOGIN = frozenset({"USER", "PASS", "APOP", "AUTH", "STLS"})
BEHIND_LOGIN = frozenset({"STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "NOOP", "RSET"})
LOGINS = frozenset({"USER", "PASS", "APOP", "AUTH"})


class BadCommand(ValueError):
    """A command that is refused without asking the server; the text is the client's."""


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in capitals; `argument` as it came: a password may begin or end with blanks."""

    verb: str
    argument: bytes

    @property
    def line(self) -> bytes:
        """What goes on, without its line end."""
        verb = self.verb.encode("ascii")
        return verb + b" " + self.argument if self.argument else verb

    @property
    def words(self) -> list[str]:
        """The argument's words."""
        return self.argument.decode("utf-8", "replace").split()


def parse_command(line: bytes) -> Command:
    """A command from a line with its end, CRLF or LF. Raises BadCommand."""
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    verb, _, argument = text.partition(b" ")
    if _CONTROL.search(text) or not _VERB.fullmatch(verb):
        raise BadCommand("unknown command")
    name = verb.decode("ascii").upper()
    if len(line) > MAX_COMMAND and name != "AUTH":
        raise BadCommand("line too long")
    return Command(name, argument if name in ("PASS", "USER") else argument.strip(b" "))


def read_number(command: Command) -> int:
    """The message that RETR, DELE, LIST or UIDL name. Raises BadCommand."""
    if len(command.words) != 1 or not _NUMBER.fullmatch(command.words[0]):
        raise BadCommand(f"syntax: {command.verb} message")
    return int(command.words[0])


def read_top(command: Command) -> tuple[int, int]:
    """TOP's message, and its number of lines. Raises BadCommand."""
    words = command.words
    if len(words) != 2 or not _NUMBER.fullmatch(words[0]) or not _COUNT.fullmatch(words[1]):
        raise BadCommand("syntax: TOP message lines")
    return int(words[0]), int(words[1])
