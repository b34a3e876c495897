"""The reply that refuses an object: it names rule, engine, status and id.

Rules of this file: 550 for what was judged; 451 where trying again may help, 452 where there was no room; 426 where
the client broke it off.
"""

from __future__ import annotations

from ftpgw.wire import Reply, make_reply
from inspection.inspect_object import Inspection, Subject
from inspection.record import visible
from policy.decision import Reason

_CODES = {
    Reason.ANTIVIRUS_ERROR: 451,
    Reason.UPSTREAM: 451,
    Reason.CLIENT_GONE: 426,
}


def make_refusal(subject: Subject, inspection: Inspection, *, no_room: bool = False) -> Reply:
    """What the client gets instead of a success."""
    decision = inspection.decision
    code = _CODES.get(decision.reason, 550) if decision.reason else 550
    engines = ", ".join(report.antivirus for report in inspection.reports)
    facts = [
        f"doc-acl {decision.acl}" if decision.acl else "no doc-acl matches",
        f"engine {engines}" if engines else "no engine asked",
        f"status {inspection.status or 'refused'}",
        f"id {subject.id}",
    ]
    return make_reply(452 if no_room else code, visible(f"{_headline(inspection)} ({', '.join(facts)})"))


def _headline(inspection: Inspection) -> str:
    if inspection.virus:
        return f"Infected with {inspection.virus}: refused"
    match inspection.decision.reason:
        case Reason.ACL | Reason.NO_ACL:
            return "Refused by the policy"
        case Reason.ANTIVIRUS_ERROR:
            return "The antivirus check could not be done, try again later"
        case Reason.UPSTREAM:
            return f"The server failed: {inspection.detail}"
        case Reason.CLIENT_GONE:
            return "Transfer broken off"
        case _:
            return f"Refused: the check ended as {inspection.status}"
