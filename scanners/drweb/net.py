"""The engine `drweb-net`: drwebd is sent the bytes, over TCP or a Unix socket."""

from __future__ import annotations

from policy.verdict import Coverage, Status
from scanners.connection import Address
from scanners.drweb.replies import SIZE_LIMIT, judge
from scanners.drweb.version import ask_version
from scanners.drweb.wire import scan_bytes
from scanners.engine import Answer, Body

LIMIT_SETTING = "the size limits in drweb32.ini"


class DrwebNet:
    """drwebd at one address."""

    protocol = "drweb-net"
    coverage = Coverage.FULL
    limit_setting = LIMIT_SETTING

    def __init__(self, address: Address) -> None:
        self._address = address

    def __str__(self) -> str:
        return f"drwebd at {self._address}"

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation."""
        if body.size > SIZE_LIMIT:
            return Answer(Status.SKIPPED, detail=f"larger than the {SIZE_LIMIT} bytes that can be announced to drwebd")
        try:
            return judge(await scan_bytes(self._address, body))
        except OSError as why:
            return Answer(Status.ERROR, detail=f"{self._address}: {why.strerror or why}")

    async def version(self) -> str:
        """Daemon and databases; "" where drwebd does not tell."""
        return await ask_version(self._address)

    async def close(self) -> None:
        """Nothing is held between two checks."""
