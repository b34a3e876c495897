"""The commands and what becomes of each: the session's states as a table.

Rules of this file: no I/O; what does not stand here is 502 and never reaches a server; what could assemble a file out
of others on the server's side (COMB, SITE CPFR ...) does not stand here; a line is judged before anything is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from ftpgw.wire import Command, Reply, make_reply


class Way(Enum):
    """Who answers."""

    RELAY = auto()  # the server, its reply as it is
    LISTING = auto()  # the server, over a data connection, bytes as they are
    OURS = auto()  # we do


@dataclass(frozen=True, slots=True)
class Rule:
    """`login`: only behind one, `bare`: or without an argument. `argument`: whether there may be one, where we answer;
    what the server answers, it judges itself."""

    way: Way
    login: bool = True
    bare: bool = False
    argument: Literal["none", "may", "must"] = "may"
    data: bool = False
    moves: bool = False  # the working directory may be another one afterwards


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    rules["CDUP"] = rules["XCUP"] = Rule(Way.RELAY, argument="none", moves=True)
    for verb in ("CWD", "XCWD"):
        rules[verb] = Rule(Way.RELAY, moves=True)
    for verb in ("PWD", "XPWD", "MKD", "XMKD", "RMD", "XRMD", "DELE", "RNFR", "RNTO", "SIZE", "MDTM", "MFMT", "ALLO"):
        rules[verb] = Rule(Way.RELAY)
    rules["MLST"] = rules["SITE CHMOD"] = rules["SITE UMASK"] = Rule(Way.RELAY)
    for verb in ("NOOP", "SYST", "STAT"):
        rules[verb] = Rule(Way.RELAY, bare=True)
    rules["HELP"] = rules["SITE HELP"] = Rule(Way.RELAY, login=False)
    for verb in ("LIST", "NLST", "MLSD"):
        rules[verb] = Rule(Way.LISTING, data=True)
    for verb in ("RETR", "STOR", "APPE"):
        rules[verb] = Rule(Way.OURS, argument="must", data=True)
    rules["STOU"] = Rule(Way.OURS, data=True)
    for verb in ("PASS", "ACCT", "AUTH", "PBSZ", "PROT", "CCC", "CLNT"):
        rules[verb] = Rule(Way.OURS, login=False)
    for verb in ("USER", "OPTS"):
        rules[verb] = Rule(Way.OURS, login=False, argument="must")
    for verb in ("QUIT", "FEAT"):
        rules[verb] = Rule(Way.OURS, login=False, argument="none")
    for verb in ("TYPE", "MODE", "STRU", "REST", "PORT", "EPRT"):
        rules[verb] = Rule(Way.OURS, argument="must")
    rules["PASV"] = rules["REIN"] = rules["ABOR"] = Rule(Way.OURS, argument="none")
    rules["EPSV"] = Rule(Way.OURS)
    return rules


TABLE = _table()
# The words of pyftpdlib, which people know.
NEEDS_ARGUMENT = "Syntax error: command needs an argument."
LOG_IN = "Log in with USER and PASS first."

FEATURES = ("EPRT", "EPSV", "MDTM", "MFMT", "MLST", "REST STREAM", "SIZE", "TVFS", "UTF8")
"""What we can stand for where the server offers it. EPRT and EPSV are ours alone."""


def full_verb(command: Command) -> str:
    """The verb, with its second word where that is what matters."""
    if command.verb != "SITE":
        return command.verb
    return f"SITE {command.argument.partition(' ')[0].upper()}".rstrip()


def judge_line(command: Command, *, logged_in: bool) -> Rule | Reply:
    """The command's rule, or the reply that refuses it."""
    if not command.is_clean:
        return make_reply(501, "A command may not hold CR, LF or NUL.")
    rule = TABLE.get(full_verb(command))
    if command.verb == "SITE" and not command.argument:
        return make_reply(501, NEEDS_ARGUMENT)
    if rule is None:
        return make_reply(502, "This command is not understood, or not offered.")
    if rule.login and not logged_in and (command.argument or not rule.bare):
        return make_reply(530, LOG_IN)
    if rule.argument == "must" and not command.argument:
        return make_reply(501, NEEDS_ARGUMENT)
    if rule.argument == "none" and command.argument.strip():
        return make_reply(501, "Syntax error: command does not accept arguments.")
    return rule


def filter_features(offered: Reply | None) -> list[str]:
    """The lines of FEAT: what the server offers (None: not known yet) as far as we stand for it."""
    if offered is None:
        return [name for name in FEATURES if name not in ("MLST", "MFMT")]
    if offered.kind != 2:
        return ["EPRT", "EPSV"]
    lines = [line.strip() for line in offered.lines[1:-1]]
    kept = [line for line in lines if line.upper() in FEATURES or line.upper().startswith("MLST ")]
    return sorted({*(line for line in kept if line.upper() not in ("EPRT", "EPSV")), "EPRT", "EPSV"})
