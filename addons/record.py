"""What remains of a transfer when it is over: the audit record, and what mitmproxy's users see on the flow.

Rules of this file: one record per object; nothing of the content, no credentials, no query strings; the flow gets
plain data only, because mitmproxy copies and saves it.
"""

from __future__ import annotations

from mitmproxy import http

from addons.body.steps import Cut, Step
from addons.body.transfer import Transfer
from addons.desktop.account import Account, passed
from inspection.inspect_object import Inspection, Subject
from inspection.object_record import make_object_record
from inspection.record import AuditRecord
from policy.decision import Action
from policy.verdict import Status

_MARKERS = {
    Status.FOUND: ":biohazard:",
    Status.UNKNOWN: ":warning:",
    Status.ERROR: ":warning:",
    Status.SKIPPED: ":hourglass:",
}


def mark(flow: http.HTTPFlow, account: Account) -> None:
    """Comment, marker and metadata of a flow, one of whose objects was judged.

    The account of the latest object of each direction stands in full; of all the objects of a flow the first one that
    was refused gives comment, marker and the short entries."""
    flow.metadata[f"av.{account['direction']}"] = account
    if flow.metadata.get("av.action") not in (None, Action.ACCEPT.value):
        if flow.metadata["av.id"] != account["id"]:
            return
    flow.comment = comment(account)
    if account["status"] in _MARKERS:
        flow.marked = _MARKERS[account["status"]]
    flow.metadata |= {
        "av.id": account["id"],
        "av.status": account["status"] or "unchecked",
        "av.virus": account["virus"] or "",
        "av.action": account["action"],
        "av.reason": account["reason"] or "",
        "av.acl": account["acl"] or "",
    }


def clear_marks(flow: http.HTTPFlow) -> None:
    """A flow that is replayed is judged anew."""
    if "av.id" in flow.metadata:
        flow.comment = flow.marked = ""
        for name in [name for name in flow.metadata if name.startswith("av.")]:
            del flow.metadata[name]


def comment(account: Account) -> str:
    """One line for people: `AV found Eicar (virus-found, ACL DOCUMENTS) [2000 B had left]`."""
    words = ["AV", account["status"] or ("unchecked" if passed(account) else "refused"), account["virus"] or ""]
    acl = f"ACL {account['acl']}" if account["acl"] else ""
    why = ", ".join(word for word in (account["reason"] or "", acl) if word)
    words.append(f"({why})" if why else "")
    words.append(f"[{account['released']} B had left]" if account["released"] else "")
    words.append(f"- {account['detail']}" if account["detail"] else "")
    return " ".join(word for word in words if word)


def make_record(
    proxy: str,
    subject: Subject,
    inspection: Inspection,
    *,
    transfer: Transfer | None = None,
    step: Step | None = None,
) -> AuditRecord:
    """The audit record of one object, which for a transfer that had begun to leave and was stopped is a cut."""
    if transfer is None:
        return make_object_record(proxy, subject, inspection)
    return make_object_record(
        proxy,
        subject,
        inspection,
        body=transfer.intake.content if transfer.intake.content.complete else None,
        released=transfer.released,
        cut=isinstance(step, Cut) and bool(transfer.sent),
        ms=transfer.age * 1000,
    )
