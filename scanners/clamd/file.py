"""The engine `clamav-file`: clamd is told the path of a file in `comm-dir` (SCAN).

Rules of this file: clamd is asked through the comm-dir, which doubts its word where the file did not stay as it was.
"""

from __future__ import annotations

import re

from policy.verdict import Coverage, Status
from scanners.clamd.database import Database
from scanners.clamd.replies import judge
from scanners.clamd.wire import ask_version, send_command
from scanners.comm_dir import CommDir
from scanners.connection import Address
from scanners.engine import Answer, Body


class ClamavFile:
    """clamd at one address, with one directory that both can see."""

    protocol = "clamav-file"
    coverage = Coverage.FULL
    limit_setting = "MaxFileSize and MaxScanSize in clamd.conf"

    def __init__(self, address: Address, comm_dir: CommDir) -> None:
        self._address = address
        self._comm_dir = comm_dir
        self._database = Database(address.unix)

    def __str__(self) -> str:
        return f"clamd at {self._address} by SCAN in {self._comm_dir}"

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation, upon which the file is removed at once."""
        try:
            return await self._comm_dir.ask(body, self._scan)
        except OSError as why:
            return Answer(Status.ERROR, detail=f"{self}: {why.strerror or why}")

    async def _scan(self, path: bytes) -> Answer:
        said = await send_command(self._address, b"SCAN " + path)
        return judge(said, re.compile(re.escape(path)))

    async def version(self) -> str:
        """E.g. `ClamAV 1.4.6/27000/Sun Nov 22 ...`; "" where clamd does not tell."""
        return await ask_version(self._address)

    async def stamp(self) -> str:
        """Of a local clamd's database directory, where that can be found out; "" elsewhere."""
        return await self._database.stamp()

    async def close(self) -> None:
        """Takes no more; files under way are removed by those who ask."""
        await self._comm_dir.close()
