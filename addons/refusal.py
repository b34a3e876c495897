"""The response that a client gets instead of an object.

Rules of this file: the status code tells a program what a person reads on the page; no byte of the object and no
header of the origin is on it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mitmproxy import http

from addons.block_page import HEADERS, Refusal, render
from inspection.inspect_object import Inspection, Subject
from policy.decision import Reason

RETRY_AFTER = "30"  # seconds

# 403 for what was judged; 503 where trying again may help; 502 where the origin is at fault (RFC 9110 section 15).
_STATUS_CODES = {
    Reason.ANTIVIRUS_ERROR: 503,
    Reason.UPSTREAM: 502,
    Reason.PROTOCOL: 502,
}


def make_page(
    flow: http.HTTPFlow,
    subject: Subject,
    inspection: Inspection | None,
    template: str | None = None,
    *,
    why: str | None = None,
) -> http.Response:
    """The page for an object that does not pass, in the form that the client's Accept asks for; `why` is the URL at
    which the client finds the whole explanation."""
    if inspection is None:
        raise ValueError("there is no page before the verdict")
    status, reason = inspection.status, inspection.decision.reason
    refusal = Refusal(
        status=status,
        reason=str(reason or ""),
        id=subject.id,
        url=subject.facts.url or "",
        time=datetime.now(UTC),
        virus=inspection.virus,
        antivirus=", ".join(report.antivirus for report in inspection.reports) or None,
        acl=inspection.decision.acl,
        why=why,
    )
    content_type, content = render(refusal, flow.request.headers.get("accept"), template)
    headers = {
        "Content-Type": content_type,
        **HEADERS,
        "X-Sluice-Status": str(status or "refused"),
        "X-Sluice-Id": subject.id,
    }
    code = _STATUS_CODES.get(reason, 403) if reason else 403
    if code == 503:
        headers["Retry-After"] = RETRY_AFTER
    return http.Response.make(code, content, headers)
