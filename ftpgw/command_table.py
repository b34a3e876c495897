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
    """`login`: only behind one. `argument`: whether there is one."""

    way: Way
    login: bool = True
    argument: Literal["none", "may", "must"] = "may"
    data: bool = False
    moves: bool = False  # the working directory may be another one afterwards


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for verb in ("CDUP", "XCUP"):
        rules[verb] = Rule(Way.RELAY, argument="none", moves=True)
    for verb in ("CWD", "XCWD"):
        rules[verb] = Rule(Way.RELAY, moves=True)
    for verb in ("PWD", "XPWD", "SYST", "NOOP"):
        rules[verb] = Rule(Way.RELAY)
    for verb in ("MKD", "XMKD", "RMD", "XRMD", "DELE", "RNFR", "RNTO", "SIZE", "MDTM", "MFMT", "ALLO"):
        rules[verb] = Rule(Way.RELAY, argument="must")
    for verb in ("MLST", "STAT"):
        rules[verb] = Rule(Way.RELAY)
    rules["SITE CHMOD"] = rules["SITE UMASK"] = Rule(Way.RELAY)
    for verb in ("LIST", "NLST", "MLSD"):
        rules[verb] = Rule(Way.LISTING, data=True)
    for verb in ("RETR", "STOR", "APPE"):
        rules[verb] = Rule(Way.OURS, argument="must", data=True)
    rules["STOU"] = Rule(Way.OURS, data=True)
    for verb in ("USER", "PASS", "ACCT", "QUIT", "FEAT", "AUTH", "PBSZ", "PROT", "CCC", "OPTS", "CLNT", "HELP", "ABOR"):
        rules[verb] = Rule(Way.OURS, login=False)
    for verb in ("TYPE", "MODE", "STRU", "REST", "PORT", "EPRT"):
        rules[verb] = Rule(Way.OURS, argument="must")
    rules["PASV"] = Rule(Way.OURS, argument="none")
    rules["EPSV"] = Rule(Way.OURS)
    return rules


TABLE = _table()
PAST_THE_QUEUE = frozenset({"ABOR", "STAT"})
"""What is answered while a transfer is under way; all other commands wait for its end."""

# `SITE CHMOD` is one command, and OPTS' words say which one it is.
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
    if rule is None:
        return make_reply(502, "This command is not offered.")
    if rule.login and not logged_in:
        return make_reply(530, "Please log in first.")
    if rule.argument == "must" and not command.argument:
        return make_reply(501, f"{command.verb} takes an argument.")
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
