"""Decisions on sessions, commands and single objects: the order of evaluation of HTTP and FTP.

Rules of this file: pure, no clock and no I/O; the first ACL that matches wins and none rejects; the doc-acl
is chosen before the check, and `free` or a status that the ACL names alone passes; every answer carries its
whole trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from policy.conditions import When
from policy.decision import Action, Choice, Decision, Reason, Step
from policy.facts import ObjectFacts, SessionFacts
from policy.matching import WAIT
from policy.model import (
    CommandAcl,
    DocAcl,
    FtpCommandAcl,
    FtpProxy,
    Gateway,
    Imap4Proxy,
    ObjectProxy,
    Pop3Proxy,
)
from policy.verdict import Status


class _Acl(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def when(self) -> When: ...


def walk[A: _Acl](acls: Iterable[A], facts: object, layer: str) -> Choice[A]:
    """The first ACL whose conditions all hold. Stops early where one has to wait for the first bytes."""
    trace: list[Step] = []
    for acl in acls:
        why = acl.when.refuse(facts)
        if why is None:
            trace.append(Step(acl.name, True, _held(acl.when), layer))
            return Choice(acl, tuple(trace))
        trace.append(Step(acl.name, False, why, layer))
        if why is WAIT:
            return Choice(None, tuple(trace), waits_for_head=True)
    return Choice(None, tuple(trace))


def _held(when: When) -> str:
    return "it has no conditions" if when.always else "all its conditions hold"


def choose_doc_acl(proxy: ObjectProxy, facts: ObjectFacts) -> Choice[DocAcl]:
    """The doc-acl for an HTTP or FTP object, before its body is delivered."""
    return walk(proxy.doc_acl, facts, "doc-acl")


def decide_document(choice: Choice[DocAcl], status: Status | None = None, *, released: int = 0) -> Decision:
    """What happens to an object after its check.

    `status` None: no engine was asked. Right where the ACL names none; where it does, None is `error`.
    `released`: bytes that left before the verdict; a refusal is then a cut.
    """
    acl, trace = choice.acl, choice.trace
    if acl is None:
        return Decision(action=_refusal(released), reason=Reason.NO_ACL, trace=trace)
    if acl.action == "deny":
        return Decision(action=_refusal(released), reason=Reason.ACL, acl=acl.name, trace=trace)
    if acl.antivirus is None:
        return Decision(action=Action.ACCEPT, acl=acl.name, trace=trace)
    status = status or Status.ERROR
    trace = (*trace, _outcome(acl, status))
    if passes(acl, status):
        return Decision(action=Action.ACCEPT, acl=acl.name, trace=trace)
    keep = acl.quarantine and status is not Status.ERROR
    reason = REASONS[status]
    return Decision(action=_refusal(released), reason=reason, acl=acl.name, trace=trace, quarantine=keep)


def passes(acl: DocAcl, status: Status) -> bool:
    """Whether an object of that status is delivered by that ACL."""
    return status is Status.FREE or status in acl.accept_antivirus_status


REASONS = {
    Status.FOUND: Reason.VIRUS_FOUND,
    Status.SKIPPED: Reason.ANTIVIRUS_STATUS,
    Status.UNKNOWN: Reason.ANTIVIRUS_STATUS,
    Status.ERROR: Reason.ANTIVIRUS_ERROR,
}


def _refusal(released: int) -> Action:
    return Action.CUT if released else Action.DENY


def _outcome(acl: DocAcl, status: Status) -> Step:
    named = ", ".join(("free", *acl.accept_antivirus_status))
    return Step(acl.name, True, f"virus-status is {status}, it accepts {named}")


def decide_session(gateway: Gateway, facts: SessionFacts) -> Decision:
    """Whether a client may talk to the gateway at all. Without a session-acl everyone may."""
    if gateway.session_acl is None:
        return Decision(action=Action.ACCEPT)
    choice = walk(gateway.session_acl, facts, "session-acl")
    if choice.acl is None:
        return Decision(action=Action.DENY, reason=Reason.NO_ACL, trace=choice.trace)
    permitted = choice.acl.action == "permit"
    return Decision(
        action=Action.ACCEPT if permitted else Action.DENY,
        reason=None if permitted else Reason.ACL,
        acl=choice.acl.name,
        trace=choice.trace,
    )


def choose_command_acl(gateway: Pop3Proxy | Imap4Proxy, facts: SessionFacts) -> Choice[CommandAcl]:
    """The command-acl of a mailbox session, chosen once after login."""
    acls: tuple[CommandAcl, ...] = gateway.command_acl
    return walk(acls, facts, "command-acl")


def choose_command(gateway: FtpProxy, command: str, facts: SessionFacts) -> Choice[FtpCommandAcl] | None:
    """The command-acl for one FTP command (`RETR`, `SITE CHMOD`); None: there is no list, so it is permitted.

    No match in a list that is there denies.
    """
    if gateway.command_acl is None:
        return None
    trace: list[Step] = []
    for acl in gateway.command_acl:
        why = f"command is {command}" if not _covers(acl, command) else acl.when.refuse(facts)
        trace.append(Step(acl.name, why is None, why or acl.action, "command-acl"))
        if why is None:
            return Choice(acl, tuple(trace))
    return Choice(None, tuple(trace))


def _covers(acl: FtpCommandAcl, command: str) -> bool:
    """`SITE` covers `SITE CHMOD` too."""
    if acl.commands is None:
        return True
    words = command.upper().split()
    return any(words[: len(c.split())] == c.split() for c in acl.commands)
