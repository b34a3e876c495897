"""A mail divided into its documents, off the loop.

Rules of this file: whoever divided a mail closes it; what a thread made and nobody waits for any more is closed as soon
as that thread has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from inspection.spool import SpoolRoom
from mailgw.mime.reader import Mail, read_mail
from scanners.engine import Body


class Closable(Protocol):
    """What holds room until it is closed."""

    def close(self) -> None:
        """Give it back."""


async def divide(mail: Body, room: SpoolRoom) -> Mail:
    """The mail as `read_mail` reads it; the caller closes it. Raises SpoolFull, OSError. A cancellation takes as long
    as the reading does, and the mail is not touched after."""
    return await make_in_thread(lambda: read_mail(mail, room))


async def make_in_thread[T: Closable](make: Callable[[], T]) -> T:
    """What `make` gives; the caller closes it. A thread cannot be stopped: a cancellation waits for it."""
    making = asyncio.get_running_loop().run_in_executor(None, make)
    try:
        await asyncio.wait([making])
    except asyncio.CancelledError:
        await _see_out(making)
        raise
    return making.result()


async def _see_out[T: Closable](making: asyncio.Future[T]) -> None:
    while not making.done():
        try:
            await asyncio.wait([making])
        except asyncio.CancelledError:
            continue
    if making.exception() is None:
        making.result().close()
