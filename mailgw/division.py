"""A mail divided into its documents, off the loop unless that takes next to no time.

Rules of this file: whoever divided a mail closes it; what a thread made and nobody waits for any more is closed as soon
as that thread has ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from inspection.spool import SpoolRoom
from mailgw.mime.reader import Mail, read_mail
from mailgw.mime.window import Stopped
from scanners.engine import Body

# Not those that others wait for: a few costly mails hold up neither the quarantine nor each other.
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="mail")


# Of these the reading takes a millisecond, a few at the very worst, and a thread's hand-over takes as much again.
_PLAIN_SIZE = 16 * 1024
_PLAIN_LINES = 400
_PLAIN_DASHED = 16  # lines that may be boundaries: each one can begin a part, and parts are what costs time


class Closable(Protocol):
    """What holds room until it is closed."""

    def close(self) -> None:
        """Give it back."""


async def divide(mail: Body, room: SpoolRoom, within: float) -> Mail:
    """The mail as `read_mail` reads it; the caller closes it. Raises SpoolFull, OSError, and TimeoutError after
    `within` seconds; the mail is not touched after any of that, nor after a cancellation."""
    if _is_plain(mail):
        return read_mail(mail, room)
    stop = threading.Event()
    timer = asyncio.get_running_loop().call_later(within, stop.set)
    try:
        return await make_in_thread(lambda: read_mail(mail, room, stop=stop.is_set), stop.set)
    except Stopped:
        raise TimeoutError(f"the mail could not be read within {within:g} s") from None
    finally:
        timer.cancel()


def _is_plain(mail: Body) -> bool:
    """Whether it is so small, of so few lines and parts, that the loop may read it itself."""
    if mail.size > _PLAIN_SIZE:
        return False
    data = mail.read(0, mail.size)
    dashed = data.count(b"\n--") + data.count(b"\r--")
    return dashed <= _PLAIN_DASHED and max(data.count(b"\n"), data.count(b"\r")) <= _PLAIN_LINES


async def make_in_thread[T: Closable](make: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """What `make` gives; the caller closes it. A thread ends by itself only: a cancellation calls `stop` and waits."""
    making = asyncio.get_running_loop().run_in_executor(_THREADS, make)
    try:
        await asyncio.wait([making])
    except asyncio.CancelledError:
        stop()
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
