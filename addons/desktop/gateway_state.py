"""A gateway's state as plain data, for whoever looks at it.

Rules of this file: nothing is asked of an engine, only what is known is told; no secrets, for addresses and versions
are all there is.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from addons.gateway import HttpGateway
from scanners.antivirus import Antivirus
from scanners.endpoint import Endpoint

HEALTH = ("proven", "in doubt until the next canary", "not proven", "left alone until its next canary")
_DATABASE = re.compile(r"/\d+/(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\s*$")


def describe_gateway(gateway: HttpGateway | None, file: Path | None, now: datetime) -> dict[str, Any]:
    """The state; `gateway` None: no policy is in force yet. `now` without a zone, as clamd tells its time."""
    if gateway is None:
        return {"gateway": None, "policy": None, "engines": [], "banners": [], "transfers": 0, "spooled": 0}
    return {
        "gateway": gateway.name,
        "policy": str(file) if file else None,
        "engines": [
            _describe_endpoint(antivirus, endpoint, now)
            for antivirus in gateway.antiviruses.values()
            for endpoint in antivirus.endpoints
        ],
        "banners": gateway.banners,
        "transfers": gateway.under_way,
        "spooled": gateway.room.used,
    }


def _describe_endpoint(antivirus: Antivirus, endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    return {
        "name": antivirus.name,
        "engine": str(endpoint.engine),
        "protocol": endpoint.engine.protocol,
        "coverage": str(antivirus.coverage),
        "state": HEALTH[endpoint.health],
        "proven": endpoint.proven,
        "limit": endpoint.limit,
        "failure": endpoint.failure,
        "version": endpoint.version,
        "database_age_hours": find_age(endpoint.version, now),
        "checks": endpoint.in_flight,
        "load": endpoint.load,
    }


def find_age(version: str, now: datetime) -> float | None:
    """Hours since the database was made that a version of clamd's tells, e.g. `ClamAV 1.4.6/27000/Sun Nov 22 08:31:35
    2026`; None where it tells none. clamd writes its machine's local time in English."""
    match = _DATABASE.search(version)
    if match is None:
        return None
    try:
        made = datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return round((now - made).total_seconds() / 3600, 1)
