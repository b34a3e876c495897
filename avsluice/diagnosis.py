"""What is to be known of one engine: does it find EICAR, plain and zipped, does it let a clean object be, and up to
what size.

Rules of this file: an engine is asked as the gateways ask it, behind its proof; every question ends within the
section's `timeout`; a finding is data and nothing raises.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from dataclasses import asdict, dataclass

from policy.model.antivirus import AnyAntivirus
from policy.verdict import Coverage, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.endpoint import Endpoint
from scanners.engine import Answer, Body
from scanners.specimens import EICAR

CLEAN = MemoryBody(b"Sluice asks whether this text, in which there is nothing, is free.\n")
INFECTED = MemoryBody(EICAR)


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("eicar.com"), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


ZIPPED = MemoryBody(_zip(EICAR))
"""Deflated: who does not unpack it does not see it."""

_LOOK_EVERY = 0.02
_PATIENCE = 2
"""How often `timeout` may pass until the limit is known: a search takes many questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One endpoint of one section. Sizes are bytes, `*_ms` milliseconds; `limit` is the largest size that is known to
    be scanned, None without a proof; `limit_known`: nothing larger is."""

    antivirus: str
    protocol: str
    engine: str
    version: str
    coverage: Coverage
    proven: bool
    failure: str
    limit: int | None
    limit_known: bool
    limit_setting: str
    max_checked_size: int
    eicar: Status
    eicar_detail: str
    eicar_ms: float
    zipped: Status
    zipped_detail: str
    zipped_ms: float
    clean: Status
    clean_detail: str
    clean_ms: float

    @property
    def well(self) -> bool:
        """Whether a gateway can work with it: EICAR is found, what is clean is free."""
        return self.eicar is Status.FOUND and self.clean is Status.FREE

    @property
    def unpacks(self) -> bool:
        """Whether it finds EICAR in an archive."""
        return self.zipped is Status.FOUND

    def as_plain(self) -> dict[str, object]:
        """For JSON."""
        plain = asdict(self)
        rounded = {key: round(ms, 3) for key, ms in plain.items() if key.endswith("_ms")}
        return {**plain, **rounded, "well": self.well, "unpacks": self.unpacks}


async def examine(antivirus: Antivirus, section: AnyAntivirus) -> list[Finding]:
    """One finding for each endpoint of a started antivirus, side by side."""
    return await asyncio.gather(*(_examine(antivirus.name, e, section) for e in antivirus.endpoints))


async def _examine(name: str, endpoint: Endpoint, section: AnyAntivirus) -> Finding:
    eicar, eicar_ms = await _ask(endpoint, INFECTED, section)
    zipped, zipped_ms = await _ask(endpoint, ZIPPED, section)
    clean, clean_ms = await _ask(endpoint, CLEAN, section)
    known = await _await_limit(endpoint, section)
    return Finding(
        antivirus=name,
        protocol=endpoint.engine.protocol,
        engine=str(endpoint.engine),
        version=endpoint.version,
        coverage=endpoint.engine.coverage,
        proven=endpoint.proven,
        failure=endpoint.failure,
        limit=endpoint.limit,
        limit_known=known,
        limit_setting=endpoint.engine.limit_setting,
        max_checked_size=section.max_checked_size,
        eicar=eicar.status,
        eicar_detail=eicar.detail,
        eicar_ms=eicar_ms,
        zipped=zipped.status,
        zipped_detail=zipped.detail,
        zipped_ms=zipped_ms,
        clean=clean.status,
        clean_detail=clean.detail,
        clean_ms=clean_ms,
    )


async def _ask(endpoint: Endpoint, body: Body, section: AnyAntivirus) -> tuple[Answer, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    if body.size > section.max_checked_size:
        return Answer(Status.SKIPPED, detail=f"it is larger than max-checked-size, {section.max_checked_size}"), 0.0
    try:
        async with asyncio.timeout(section.timeout):
            answer = await endpoint.ask(body)
    except TimeoutError:
        answer = Answer(Status.ERROR, detail=f"no answer within {section.timeout:g} s")
    return answer, 1000 * (clock() - began)


async def _await_limit(endpoint: Endpoint, section: AnyAntivirus) -> bool:
    """Whether the limit probe, which goes on by itself, came to its end in time."""
    try:
        async with asyncio.timeout(_PATIENCE * section.timeout):
            while (seen := endpoint.limit) is not None:
                if seen >= section.max_checked_size or endpoint.skips(seen + 1):
                    return True
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        pass
    return False
