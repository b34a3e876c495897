"""The five results of a check, and how several results become one.

Rules of this file: a result is data and never raises; the two merges are total orders over the five
statuses; the built-in engine may add `found` to another engine's result but never stand in for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a check can end in (chapter 15.3)."""

    FREE = "free"  # the engine scanned the data and found no virus
    FOUND = "found"  # at least one virus
    SKIPPED = "skipped"  # not scanned: the engine chose not to, or the object is too large
    UNKNOWN = "unknown"  # a reply that we do not understand, or an ambiguous object
    ERROR = "error"  # no answer could be had


class Merge(StrEnum):
    """How the reports of several engines on one document become its status."""

    KERNUN = "kernun"
    STRICT = "strict"


class Coverage(StrEnum):
    """What an engine can know: a full signature database, or only test signatures."""

    FULL = "full"
    TEST_SIGNATURES = "test-signatures"


_ORDERS = {
    Merge.KERNUN: (Status.FOUND, Status.FREE, Status.SKIPPED, Status.UNKNOWN, Status.ERROR),
    Merge.STRICT: (Status.FOUND, Status.ERROR, Status.UNKNOWN, Status.SKIPPED, Status.FREE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """One engine's word on one document.

    `antivirus` is the policy section's name, `protocol` what was really spoken (never `auto`), `detail` the
    engine's own words or the cause of an `error`, for people only. `ms` is the time of the
    check in milliseconds.
    """

    antivirus: str
    protocol: str
    status: Status
    virus: str | None = None
    detail: str = ""
    version: str = ""
    ms: float = 0.0
    cached: bool = False
    coverage: Coverage = Coverage.FULL


def merge_engines(reports: Iterable[ScanReport], order: Merge = Merge.KERNUN) -> Status:
    """One status from all engines' reports on one document; no report at all is `skipped`."""
    reports = list(reports)
    beside_another = any(r.protocol != "builtin" for r in reports)
    joining = [r.status for r in reports if _joins(r, beside_another=beside_another)]
    return min(joining, key=_ORDERS[order].index, default=Status.SKIPPED)


def merge_order(merge: Merge) -> tuple[Status, ...]:
    """The five statuses, the one that prevails first."""
    return _ORDERS[merge]


def _joins(report: ScanReport, *, beside_another: bool) -> bool:
    return report.protocol != "builtin" or report.status is Status.FOUND or not beside_another


def merge_documents(statuses: Iterable[Status]) -> Status:
    """A mail's status from its documents' (the strict order); a mail without documents is `skipped`."""
    return min(statuses, key=_ORDERS[Merge.STRICT].index, default=Status.SKIPPED)
