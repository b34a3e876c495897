"""Several engines on one document.

Rules of this file: they run in parallel and are all awaited; the crash of one is that one's `error`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from policy.verdict import Merge, ScanReport, Status, merge_engines
from scanners.antivirus import Antivirus
from scanners.engine import Body

_log = logging.getLogger("avsluice.scanners")


async def check_document(
    antiviruses: Sequence[Antivirus], body: Body, merge: Merge = Merge.KERNUN
) -> tuple[Status, tuple[ScanReport, ...]]:
    """The document's status and every engine's report, in the order given. No engine at all: `skipped`.

    Never raises but for cancellation, which ends every check under way."""
    if len(antiviruses) == 1:
        reports: tuple[ScanReport, ...] = (await _check(antiviruses[0], body),)
    else:
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(_check(antivirus, body)) for antivirus in antiviruses]
        reports = tuple(check.result() for check in checks)
    return merge_engines(reports, merge), reports


async def _check(antivirus: Antivirus, body: Body) -> ScanReport:
    try:
        return await antivirus.check(body)
    except Exception as crash:
        _log.exception("antivirus %s: the check failed", antivirus.name)
        return ScanReport(
            antivirus=antivirus.name,
            protocol=antivirus.protocol,
            status=Status.ERROR,
            detail=f"the check failed: {crash!r}",
            coverage=antivirus.coverage,
        )
