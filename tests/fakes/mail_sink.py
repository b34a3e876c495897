"""A next hop in a process of its own, that tests may kill: `python mail_sink.py PORT FILE`.

Rules of this file: a mail's recipient stands in the file before the mail is answered, so that a kill loses nothing that
was consented to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fakes.next_hop import NextHop, Received


class _File(list[Received]):
    """Mails that are written down instead of kept."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, mail: Received, /) -> None:
        """One line for each recipient, in one write."""
        os.write(self._file, b"".join(recipient + b"\n" for recipient in mail.recipients))


async def main() -> None:
    """Serves until killed."""
    async with NextHop(port=int(sys.argv[1]), mails=_File(sys.argv[2])):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
