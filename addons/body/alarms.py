"""The timers of one transfer: by name, one of each, all gone when it is closed.

Rules of this file: setting an alarm anew takes the old one away; a closed set rings no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarms:
    """Calls back at moments of the running loop's clock, in seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handles: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def set(self, name: str, when: float, what: Callable[[], None]) -> None:
        """Call `what` at `when`, instead of what was set under this name before."""
        if self._closed:
            return
        if (old := self._handles.get(name)) is not None:
            old.cancel()
        self._handles[name] = self._loop.call_at(when, what)

    def close(self) -> None:
        """Take all of them away. May be called twice."""
        self._closed = True
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
