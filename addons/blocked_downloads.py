"""Downloads that were cut and are asked for again: refused at once, before any byte.

Rules of this file: the same method, full URL and validators name the same object; an engine that has learned
something new may judge otherwise, so its new version empties the memory.
"""

from __future__ import annotations

from mitmproxy import http

from addons.transfer import Transfer
from inspection.refused import Refused, RefusedMemory
from policy.verdict import ScanReport


class BlockedDownloads:
    """The blocked memory of one http-proxy; `seconds` as the policy's `blocked-memory`, 0 is off."""

    def __init__(self, seconds: float) -> None:
        self._memory = RefusedMemory(seconds)
        self._versions: dict[tuple[str, str], str] = {}

    def remember(self, flow: http.HTTPFlow, transfer: Transfer) -> None:
        """Note a download that was cut after a part of it had left."""
        inspection = transfer.inspection
        if inspection is None or inspection.status is None or inspection.decision.passes or not transfer.sent:
            return
        refused = Refused(
            id=transfer.subject.id,
            status=inspection.status,
            reason=str(inspection.decision.reason or ""),
            virus=inspection.virus,
            antivirus=", ".join(report.antivirus for report in inspection.reports),
            acl=inspection.decision.acl,
        )
        self._memory.remember(_key(flow), refused)

    def recall(self, flow: http.HTTPFlow) -> Refused | None:
        """The earlier verdict on what this response brings, where it was cut."""
        return self._memory.recall(_key(flow))

    def notice_versions(self, reports: tuple[ScanReport, ...]) -> None:
        """Forget everything once an engine tells another version than before."""
        for report in reports:
            if not report.version:
                continue
            known = self._versions.setdefault((report.antivirus, report.protocol), report.version)
            if known != report.version:
                self._versions[report.antivirus, report.protocol] = report.version
                self._memory.forget_all()


def _key(flow: http.HTTPFlow) -> tuple[str | None, ...]:
    headers = flow.response.headers if flow.response else http.Headers()
    return flow.request.method, flow.request.url, headers.get("etag"), headers.get("last-modified")
