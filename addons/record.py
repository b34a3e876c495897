"""What remains of a transfer when it is over: the audit record, and what mitmproxy's users see on the flow.

Rules of this file: one record per object; nothing of the content, no credentials, no query strings; the flow gets
plain data only, because mitmproxy copies and saves it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mitmproxy import http

from addons.steps import Cut, Step
from addons.transfer import Transfer
from inspection.inspect_object import Inspection, Subject
from inspection.record import AuditRecord
from policy.decision import Action
from policy.verdict import Status

_MARKERS = {
    Status.FOUND: ":biohazard:",
    Status.UNKNOWN: ":warning:",
    Status.ERROR: ":warning:",
    Status.SKIPPED: ":hourglass:",
}


def mark_flow(flow: http.HTTPFlow, transfer: Transfer) -> None:
    """Comment, marker and metadata of a flow whose verdict is known; of two bodies the worse one stays."""
    inspection = transfer.inspection
    if inspection is None:
        return
    mark(flow, transfer.subject, inspection, released=transfer.released)


def mark(flow: http.HTTPFlow, subject: Subject, inspection: Inspection, *, released: int = 0) -> None:
    """The same for an inspection without a transfer."""
    if flow.metadata.get("av.action") not in (None, Action.ACCEPT.value):
        return
    decision = inspection.decision
    flow.comment = comment(inspection, released)
    if inspection.status in _MARKERS:
        flow.marked = _MARKERS[inspection.status]
    flow.metadata |= {
        "av.id": subject.id,
        "av.status": str(inspection.status or "unchecked"),
        "av.virus": inspection.virus or "",
        "av.action": decision.action.value,
        "av.reason": str(decision.reason or ""),
        "av.acl": decision.acl or "",
        "av.engines": [f"{r.antivirus} {r.protocol} {r.status} {r.ms:.1f} ms" for r in inspection.reports],
        "av.trace": [str(step) for step in decision.trace],
    }


def clear_marks(flow: http.HTTPFlow) -> None:
    """A flow that is replayed is judged anew."""
    if "av.id" in flow.metadata:
        flow.comment = flow.marked = ""
        for name in [name for name in flow.metadata if name.startswith("av.")]:
            del flow.metadata[name]


def comment(inspection: Inspection, released: int) -> str:
    """One line for people: `AV found Eicar (virus-found, ACL DOCUMENTS) [2000 B had left]`."""
    decision = inspection.decision
    words = ["AV", str(inspection.status or "unchecked"), inspection.virus or ""]
    why = ", ".join(w for w in (str(decision.reason or ""), f"ACL {decision.acl}" if decision.acl else "") if w)
    words.append(f"({why})" if why else "")
    words.append(f"[{released} B had left]" if released else "")
    words.append(f"- {inspection.detail}" if inspection.detail else "")
    return " ".join(w for w in words if w)


def make_record(
    proxy: str,
    subject: Subject,
    inspection: Inspection,
    *,
    transfer: Transfer | None = None,
    step: Step | None = None,
) -> AuditRecord:
    """The audit record of one object."""
    facts, decision = subject.facts, inspection.decision
    body = transfer.intake.content if transfer and transfer.intake.content.complete else None
    return AuditRecord(
        time=datetime.now(UTC),
        proxy=proxy,
        session=subject.session,
        id=subject.id,
        client=facts.client,
        server=facts.server,
        user=facts.user,
        direction=facts.direction,
        object=facts.url,
        content_type=facts.content_type,
        size=body.size if body else facts.size,
        sha256=body.sha256 if body else None,
        status=inspection.status,
        virus=inspection.virus,
        engines=inspection.reports,
        acl=decision.acl,
        action=_action(inspection, transfer, step),
        reason=decision.reason,
        released=transfer.released if transfer else 0,
        quarantine=inspection.quarantine,
        ms=transfer.age * 1000 if transfer else 0.0,
    )


def _action(inspection: Inspection, transfer: Transfer | None, step: Step | None) -> Action:
    """What was done, which for a transfer that had begun to leave is a cut."""
    if isinstance(step, Cut) and transfer is not None and transfer.sent:
        return Action.CUT
    return inspection.decision.action
