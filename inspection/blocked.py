"""Objects that were cut and are asked for again: refused at once, before any byte.

Rules of this file: whoever asks names the object and its version by the key; an engine that has learned something
new may judge otherwise, so its new version empties the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspection.inspect_object import Inspection
from inspection.refused import Refused, RefusedMemory
from policy.verdict import ScanReport


class BlockedMemory:
    """The blocked memory of one gateway; `seconds` as the policy's `blocked-memory`, 0 is off. A key is HTTP's method,
    full URL and validators; FTP's host, port, user, path, SIZE and MDTM."""

    def __init__(self, seconds: float) -> None:
        self._memory = RefusedMemory(seconds)
        self._versions: dict[tuple[str, str], str] = {}

    def remember(self, key: Sequence[str | None], entry: str, inspection: Inspection) -> None:
        """Note an object that was cut, recorded under the id `entry`. What passed and `error` are not noted."""
        if inspection.status is None or inspection.decision.passes:
            return
        refused = Refused(
            id=entry,
            status=inspection.status,
            reason=str(inspection.decision.reason or ""),
            virus=inspection.virus,
            antivirus=", ".join(report.antivirus for report in inspection.reports),
            acl=inspection.decision.acl,
        )
        self.note(key, refused)

    def note(self, key: Sequence[str | None], refused: Refused) -> None:
        """The same, by what was refused. `error` is not noted."""
        self._memory.remember(key, refused)

    def __len__(self) -> int:
        return len(self._memory)

    def recall(self, key: Sequence[str | None]) -> Refused | None:
        """The earlier verdict on that object, where it was cut."""
        return self._memory.recall(key)

    def notice_versions(self, reports: Iterable[ScanReport]) -> None:
        """Forget everything once an engine tells another version than before."""
        for report in reports:
            if not report.version:
                continue
            known = self._versions.setdefault((report.antivirus, report.protocol), report.version)
            if known != report.version:
                self._versions[report.antivirus, report.protocol] = report.version
                self._memory.forget_all()
