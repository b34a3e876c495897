"""The engine `drweb-file`: drwebd is told the path of a file in `comm-dir`.

Rules of this file: its word is asked through the comm-dir, which doubts it where the file did not stay as it was.
"""

from __future__ import annotations

from policy.verdict import Coverage, Status
from scanners.comm_dir import CommDir
from scanners.connection import Address
from scanners.drweb.net import LIMIT_SETTING
from scanners.drweb.replies import judge
from scanners.drweb.version import ask_version
from scanners.drweb.wire import scan_path
from scanners.engine import Answer, Body


class DrwebFile:
    """drwebd at one address, with one directory that both can see."""

    protocol = "drweb-file"
    coverage = Coverage.FULL
    limit_setting = LIMIT_SETTING

    def __init__(self, address: Address, comm_dir: CommDir) -> None:
        self._address = address
        self._comm_dir = comm_dir

    def __str__(self) -> str:
        return f"drwebd at {self._address} by path in {self._comm_dir}"

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation, upon which the file is removed at once."""
        try:
            return await self._comm_dir.ask(body, self._scan)
        except OSError as why:
            return Answer(Status.ERROR, detail=f"{self}: {why.strerror or why}")

    async def _scan(self, path: bytes) -> Answer:
        return judge(await scan_path(self._address, path))

    async def version(self) -> str:
        """Daemon and databases; "" where drwebd does not tell."""
        return await ask_version(self._address)

    async def close(self) -> None:
        """Takes no more; files under way are removed by those who ask."""
        await self._comm_dir.close()
