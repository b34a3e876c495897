"""The audit record of one object of HTTP or FTP.

Rules of this file: one place fills the record's fields, so that they mean the same in both.
"""

from __future__ import annotations

from datetime import UTC, datetime

from inspection.inspect_object import Inspection, Subject
from inspection.record import AuditRecord
from inspection.spool import Spool
from policy.decision import Action


def make_object_record(
    proxy: str,
    subject: Subject,
    inspection: Inspection,
    *,
    body: Spool | None = None,
    released: int = 0,
    cut: bool = False,
    ms: float = 0.0,
) -> AuditRecord:
    """`proxy` is the gateway's label; `body` what was judged, where it is complete; `released` the bytes that left
    before the verdict; `cut` where a part of the object had left when it was stopped; `ms` its time, milliseconds."""
    facts, decision = subject.facts, inspection.decision
    return AuditRecord(
        time=datetime.now(UTC),
        proxy=proxy,
        session=subject.session,
        id=subject.id,
        client=facts.client,
        server=facts.server,
        user=facts.user,
        direction=facts.direction if facts.url else None,  # a session has none
        object=facts.url,
        content_type=facts.content_type,
        size=body.size if body is not None else facts.size,
        sha256=body.sha256 if body is not None else None,
        status=inspection.status,
        virus=inspection.virus,
        engines=inspection.reports,
        acl=decision.acl,
        action=Action.CUT if cut else decision.action,
        reason=decision.reason,
        released=released,
        quarantine=inspection.quarantine,
        ms=ms,
    )
