"""A mail divided into its documents, off the loop.

Rules of this file: whoever divided a mail closes it; a reading that nobody waits for any more is closed as soon as its
thread has ended.
"""

from __future__ import annotations

import asyncio

from inspection.spool import SpoolRoom
from mailgw.mime.reader import Mail, read_mail
from scanners.engine import Body


async def divide(mail: Body, room: SpoolRoom) -> Mail:
    """The mail as `read_mail` reads it; the caller closes it. Raises SpoolFull, OSError.

    A thread cannot be stopped: a cancellation takes as long as the reading does, and the mail is not touched after."""
    reading = asyncio.get_running_loop().run_in_executor(None, read_mail, mail, room)
    try:
        await asyncio.wait([reading])
    except asyncio.CancelledError:
        await _see_out(reading)
        raise
    return reading.result()


async def _see_out(reading: asyncio.Future[Mail]) -> None:
    while not reading.done():
        try:
            await asyncio.wait([reading])
        except asyncio.CancelledError:
            continue
    if reading.exception() is None:
        reading.result().close()
