"""The audit stream: records go in from the event loop, a thread of its own writes them out.

Rules of this file: `write` never blocks and never raises; traffic does not wait for the log, so what the log
cannot take is lost, but never silently: the losses are counted and told on standard error.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from inspection.record import (
    AuditRecord,
    DocumentEntry,
    is_id,
    new_id,
    visible,
    without_query,
)
from inspection.sinks import SYSLOG, open_sink

__all__ = ["AuditLog", "AuditRecord", "DocumentEntry", "is_id", "new_id", "visible", "without_query"]

CAPACITY = 10_000  # records waiting; about 20 MB
_BATCH = 256
_GATHER = 0.02  # seconds: under load one waking of the thread serves all records of that time


class AuditLog:
    """Writes records to `stdout`, `stderr`, `syslog` or a file, one JSON object a line.

    The sink is opened at once: OSError where it cannot be. Later failures cost records, which `lost` counts;
    a line on standard error says so, at most every `complain_every` seconds. A file that was renamed or
    removed is made anew by itself; `reopen` (on SIGHUP) also reconnects the system's log. `close` ends the
    thread.
    """

    def __init__(
        self,
        to: str | Path = "stdout",
        *,
        capacity: int = CAPACITY,
        complain_every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        syslog: str = SYSLOG,
    ) -> None:
        self.lost = 0
        self.observe: Callable[[AuditRecord], None] | None = None  # is shown each record, in the caller's thread
        self._to = to
        self._capacity = capacity
        self._every, self._clock = complain_every, clock
        self._complained_at: float | None = None
        self._told = 0
        self._why = ""
        self._sink = open_sink(to, syslog)
        self._waiting: deque[AuditRecord] = deque()
        self._change = threading.Condition()
        self._busy = self._reopening = self._closing = False
        self._hurry = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<AuditLog to {self._to}, {len(self._waiting)} waiting, {self.lost} lost>"

    def write(self, record: AuditRecord) -> None:
        """Hands a record on. One too many, or one after `close`, is lost and counted."""
        if self.observe is not None:
            self.observe(record)
        with self._change:
            if self._closing or len(self._waiting) >= self._capacity:
                self._lose(1, "it does not keep up" if not self._closing else "it is closed")
                return
            self._waiting.append(record)
            self._change.notify_all()

    def reopen(self) -> None:
        """Opens the sink again, soon; does not block."""
        with self._change:
            self._reopening = True
            self._change.notify_all()

    def flush(self, timeout: float = 5.0) -> bool:
        """Blocks until everything handed on is written or lost; False where that took over `timeout` s."""
        self._hurry.set()
        try:
            with self._change:
                return self._change.wait_for(self._is_idle, timeout)
        finally:
            self._hurry.clear()

    def close(self, timeout: float = 5.0) -> None:
        """Writes out what waits, for at most `timeout` seconds; blocks so long. What is left is lost."""
        with self._change:
            self._closing = True
            self._deadline = time.monotonic() + timeout
            self._change.notify_all()
        self._hurry.set()
        self._thread.join(timeout + 2)  # a sink asks `_wait` once a second
        with self._change:
            self._lose(len(self._waiting), "it does not keep up")
            self._waiting.clear()
        self._complain(at_once=True)

    def _is_idle(self) -> bool:
        return not (self._waiting or self._busy or self._reopening)

    def _lose(self, count: int, why: str) -> None:
        if count:
            self.lost += count
            self._why = why

    # --- the thread

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: self._waiting or self._reopening or self._closing, timeout=1)
            if self._waiting and not self._closing:
                self._hurry.wait(_GATHER)
            with self._change:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                reopening, self._reopening = self._reopening, False
                if self._closing and not batch:
                    break
                self._busy = True
            if reopening:
                self._reopen()
            if batch:
                self._deliver(batch)
            self._complain()
        self._sink.close()

    def _deliver(self, batch: list[AuditRecord]) -> None:
        try:
            lines = [record.to_json().encode("ascii") for record in batch]
            lost, why = self._sink.deliver(lines, self._wait)
        except Exception as error:  # the thread must outlive a record that cannot be written
            lost, why = len(batch), repr(error)
        with self._change:
            self._lose(lost, why)

    def _reopen(self) -> None:
        try:
            self._sink.reopen()
        except OSError as error:
            _say(f"avsluice: audit to {self._to}: cannot be opened again, the old one stays: {error}\n")

    def _wait(self) -> bool:
        """A sink is stalled: say so, and give up once `close` has run out of time."""
        self._complain()
        return not (self._closing and time.monotonic() >= self._deadline)

    def _complain(self, *, at_once: bool = False) -> None:
        now = self._clock()
        due = self._complained_at is None or now - self._complained_at >= self._every
        if self.lost > self._told and (due or at_once):
            _say(f"avsluice: audit to {self._to}: {self.lost} records lost so far: {self._why}\n")
            self._complained_at, self._told = now, self.lost


def _say(text: str) -> None:
    """On standard error, unless that would block or fail: then nobody is left to tell."""
    try:
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return
