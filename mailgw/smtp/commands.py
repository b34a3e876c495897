"""SMTP commands as a client sends them (RFC 5321, 4.1).

Rules of this file: no I/O; a line ends in CRLF and in nothing else; a line is bounded; what goes on to the next hop has
been understood, and holds no control character.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_COMMAND = 2048  # octets with line end. RFC 5321, 4.5.3.1.4: 512 and what extensions add

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_VERB = re.compile(rb"[A-Za-z]{3,10}")
# Every alternative begins with another octet, so that no input makes this slow.
_PATH = rb'(<(?:"(?:[^"\\]|\\.)*"|[^<>"\s])*>)'
_MAIL = re.compile(rb"FROM: ?" + _PATH + rb"((?: +[^ ]+)*) *", re.IGNORECASE)
_RCPT = re.compile(rb"TO: ?" + _PATH + rb"((?: +[^ ]+)*) *", re.IGNORECASE)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")
_BDAT = re.compile(rb"([0-9]{1,15})( +LAST)? *", re.IGNORECASE)

MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"})
RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})


class BadCommand(ValueError):
    """A command that is refused without asking the next hop; the text is `CODE ENHANCED TEXT` in three fields."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code, self.enhanced, self.text = code, enhanced, text


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in capitals; `line` is what goes on, without its line end."""

    verb: str
    argument: bytes
    line: bytes


@dataclass(frozen=True, slots=True)
class Path:
    """MAIL's or RCPT's address without its angle brackets (empty: the null sender), and the parameters."""

    address: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """BDAT's size in octets, and whether it is the last one."""

    size: int
    last: bool


def parse_command(line: bytes) -> Command:
    """A command from a line as `take_line` gives it. Raises BadCommand."""
    if not line.endswith(b"\r\n"):
        raise BadCommand(500, "5.5.2", "lines end in CRLF")
    text = line[:-2].rstrip(b" \t").replace(b"\t", b" ")
    if _CONTROL.search(text):
        raise BadCommand(500, "5.5.2", "a control character in a command")
    verb, _, argument = text.partition(b" ")
    if not _VERB.fullmatch(verb):
        raise BadCommand(500, "5.5.2", "command not recognized")
    return Command(verb.decode("ascii").upper(), argument.strip(b" "), text)


def parse_mail(argument: bytes) -> Path:
    """MAIL's argument. Raises BadCommand."""
    return _parse_path(_MAIL, argument, MAIL_PARAMETERS, "MAIL FROM:<address>")


def parse_rcpt(argument: bytes) -> Path:
    """RCPT's argument. Raises BadCommand."""
    return _parse_path(_RCPT, argument, RCPT_PARAMETERS, "RCPT TO:<address>")


def _parse_path(pattern: re.Pattern[bytes], argument: bytes, known: frozenset[str], syntax: str) -> Path:
    found = pattern.fullmatch(argument)
    if found is None:
        raise BadCommand(501, "5.5.4", f"syntax: {syntax}")
    parameters: dict[str, str] = {}
    for word in found[2].split():
        parameter = _PARAMETER.fullmatch(word)
        name = parameter[1].decode("ascii").upper() if parameter else ""
        if parameter is None or name not in known or name in parameters:
            raise BadCommand(555, "5.5.4", "a parameter that is not supported")
        parameters[name] = (parameter[2] or b"").decode("utf-8", "replace")
    if parameters.get("BODY", "").upper() not in ("", "7BIT", "8BITMIME"):
        raise BadCommand(555, "5.5.4", "a BODY that is not supported")
    return Path(found[1][1:-1].decode("utf-8", "replace"), parameters)


def parse_size(parameters: dict[str, str]) -> int:
    """What SIZE announces (RFC 1870), 0 where it does not. Raises BadCommand."""
    text = parameters.get("SIZE", "0")
    if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
        raise BadCommand(501, "5.5.4", "SIZE is a number of octets")
    return int(text)


def parse_bdat(argument: bytes) -> Chunk:
    """BDAT's argument (RFC 3030, 2). Raises BadCommand."""
    found = _BDAT.fullmatch(argument)
    if found is None:
        raise BadCommand(501, "5.5.4", "syntax: BDAT size [LAST]")
    return Chunk(int(found[1]), found[2] is not None)


def list_options(path: Path) -> tuple[str, ...]:
    """MAIL's parameters as they may be kept with a mail."""
    return tuple(f"{name}={value}" if value else name for name, value in path.parameters.items() if name != "AUTH")


def read_forwarded_client(argument: bytes, known: str | None) -> str | None:
    """XFORWARD's ADDR, where it is an address (Postfix, XFORWARD_README); `known` where it says nothing of one."""
    for word in argument.decode("ascii", "replace").split():
        name, _, value = word.partition("=")
        if name.upper() == "ADDR":
            try:
                return str(ipaddress.ip_address(value.removeprefix("IPV6:").removeprefix("ipv6:")))
            except ValueError:
                return None  # [UNAVAILABLE]: not the client of the mail before
    return known
