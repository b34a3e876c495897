"""One process of several."""

from __future__ import annotations

import os
import sys

from avsluice.worker import Worker
from inspection.metrics_server import WORKER

TELL = f"""
import os, socket, sys
line = socket.socket(fileno=int(sys.argv[1].split(",")[0]))
line.send(b"number " + os.environ["{WORKER}"].encode() + b"\\n")
line.recv(100)
"""


class Small(Worker):
    """Tells its number and ends."""

    def _command(self, line: str) -> list[str]:
        return [sys.executable, "-c", TELL, line]


async def test_siblings_know_their_numbers():
    """Each process gets the next number, which keeps the addresses of their metrics apart."""
    lock = os.memfd_create("lock")
    told: list[int] = []
    try:
        for worker in [Small(["a"], []), Small(["b"], [])]:
            reader = await worker.start(lock, beat=0)

            def hear(one: Worker, words: list[str]) -> None:
                told.append(int(words[1]))
                one.order("cut")

            await worker.follow(reader, hear)
    finally:
        os.close(lock)
    assert told[1] == told[0] + 1
