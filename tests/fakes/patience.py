"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], timeout: float) -> bool:
    """Poll until true; False after so many seconds."""
    deadline = time.monotonic() + timeout
    while not (done := true()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done
