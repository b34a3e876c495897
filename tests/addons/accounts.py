"""Accounts to show, as a gateway would make them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from addons.desktop.account import Account, make_account
from inspection.inspect_object import Inspection
from inspection.record import AuditRecord, new_id
from policy.decision import Action, Decision, Reason, Step
from policy.verdict import ScanReport, Status

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e{body}"


def refused(**changed: Any) -> Account:
    """A virus that was found in an upload or (by default) a download."""
    report = ScanReport(
        antivirus="CLAM",
        protocol="clamav-net",
        status=Status.FOUND,
        virus="Eicar",
        version="ClamAV 1.4.6",
        detail="stream: Eicar FOUND",
        ms=1.25,
    )
    trace = (Step("RADIO", False, "url is http://o/x, not */radio/*"), Step("DOCUMENTS", True, "it has no conditions"))
    decision = Decision(action=Action.DENY, reason=Reason.VIRUS_FOUND, acl="DOCUMENTS", trace=trace)
    inspection = Inspection(status=Status.FOUND, decision=decision, reports=(report,), detail="CLAM: FOUND")
    return _make(inspection, **{"size": 68, "sha256": "ab" * 32, **changed})


def clean(**changed: Any) -> Account:
    """An object that passed."""
    decision = Decision(action=Action.ACCEPT, acl="DOCUMENTS")
    return _make(Inspection(status=Status.FREE, decision=decision), **changed)


def _make(inspection: Inspection, **changed: Any) -> Account:
    known: dict[str, Any] = {
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "proxy": "http-proxy.HTTP",
        "session": "s1",
        "id": new_id(),
        "direction": "download",
        "object": "http://o/x?token=SECRET",
        "status": inspection.status,
        "virus": inspection.virus,
        "engines": inspection.reports,
        "acl": inspection.decision.acl,
        "action": inspection.decision.action,
        "reason": inspection.decision.reason,
    }
    return make_account(AuditRecord(**(known | changed)), inspection, transferred=70)
