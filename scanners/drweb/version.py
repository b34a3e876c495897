"""What drwebd tells of itself and its databases.

Rule of this file: a daemon that does not know a question may be silent, so each has a little time of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Generator

from scanners.connection import Address
from scanners.drweb.replies import (
    BASEINFO,
    IDSTRING,
    VERSION,
    Incoming,
    bases_reply,
    number_reply,
    text_reply,
)
from scanners.drweb.wire import converse
from scanners.printable import printable

WITHIN = 2.0
"""Seconds for one question; all are asked side by side."""


async def ask_version(address: Address) -> str:
    """Identity, version, and the databases as their number, their viruses and a digest of both, which differs once
    any database does: `drwebd 4.33 0x40021/2 databases/95321 viruses/1f2e3d4c`. "" where nothing is told."""
    async with asyncio.TaskGroup() as tasks:
        identity = tasks.create_task(_ask(address, IDSTRING, text_reply()))
        number = tasks.create_task(_ask(address, VERSION, number_reply()))
        bases = tasks.create_task(_ask(address, BASEINFO, bases_reply()))
    told = [
        *([] if (name := identity.result()) is None else [printable(name).strip() or "drwebd"]),
        *([] if (version := number.result()) is None else [f"{version:#x}"]),
        *([] if (databases := bases.result()) is None else [_describe(databases)]),
    ]
    return "/".join(told)


async def _ask[T](address: Address, question: bytes, grammar: Generator[int, bytes, T]) -> T | None:
    try:
        async with asyncio.timeout(WITHIN):
            return (await converse(address, Incoming(grammar), [question])).reply
    except (OSError, TimeoutError):
        return None


def _describe(bases: tuple[tuple[bytes, int], ...]) -> str:
    digest = hashlib.sha256(repr(sorted(bases)).encode()).hexdigest()[:8]
    return f"{len(bases)} databases/{sum(viruses for _, viruses in bases)} viruses/{digest}"
