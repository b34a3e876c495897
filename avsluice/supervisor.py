"""The parent of several processes: starts them, hands signals on, and answers for them.

Rules of this file: all of them run, or none; one that ends unasked ends all, and whoever started us starts us anew;
nobody is waited for without end; no traffic passes here, and no privileges are kept that nobody needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence

from avsluice.notify import Notifier, say_gateway
from avsluice.worker import Worker
from inspection.host import print_ready
from inspection.process import become

logger = logging.getLogger(__name__)

GRACE = 10.0  # seconds for error pages, records and the way out, after the patience with transfers
ENDED, LOST, FAILED = 0, 1, 2


class Supervisor:
    """`patience` is what the workers give transfers under way at the end, in seconds. `user`: dropped to once all
    accept; None: stay, as where the workers have several users."""

    def __init__(self, workers: Sequence[Worker], patience: float, notifier: Notifier, user: str | None = None) -> None:
        self._user = user
        self._workers = workers
        self._patience = patience
        self._notifier = notifier
        self._serving = False
        self._ending = False
        self._status = ENDED
        self._accepting: dict[str, str] = {}  # label -> as the status line says it
        self._deadline: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Until all have ended; 0, 1 where one ended unasked or had to be killed, 2 where one did not start."""
        self._take_signals()
        lock = os.memfd_create("sluice-output", os.MFD_CLOEXEC)
        try:
            for worker in self._workers:
                await self._start(worker, lock)
            await asyncio.gather(*self._tasks)
        finally:
            os.close(lock)
            for worker in self._workers:
                worker.kill()
        return self._status

    async def _start(self, worker: Worker, lock: int) -> None:
        if self._ending:
            worker.status = ENDED
            return
        period = self._notifier.period
        reader = await worker.start(lock, beat=period / 2 if period else 0.0)
        self._tasks.append(asyncio.get_running_loop().create_task(self._follow(worker, reader)))

    async def _follow(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        await worker.follow(reader, self._hear)
        self._settle(worker)
        if not self._ending:
            what = "ended unasked" if self._serving else "did not start"
            logger.error("%s (process %d) %s, %s: all end", *_of(worker), what, _how(worker.status))
            self._status = LOST if self._serving else FAILED
            self._end(self._patience if self._serving else 0.0)
        elif worker.status and self._status == ENDED:
            logger.error("%s (process %d) did not end in order, %s", *_of(worker), _how(worker.status))
            self._status = LOST

    # --- what workers tell

    def _hear(self, worker: Worker, words: list[str]) -> None:
        word, *rest = words
        worker.beat_at = asyncio.get_running_loop().time()
        if word == "ready" and rest and rest[0] in worker.labels:
            worker.bound[rest[0]] = [(host, int(port)) for host, port in zip(rest[1::2], rest[2::2], strict=True)]
            self._look_who_accepts(rest[0])
        elif word == "settled":
            self._settle(worker)

    def _look_who_accepts(self, label: str) -> None:
        """A gateway accepts once all of its workers do."""
        here = [worker for worker in self._workers if label in worker.labels]
        if self._ending or not all(label in worker.bound for worker in here):
            return
        bound = here[0].bound[label]
        self._accepting[label] = say_gateway(label, bound)
        complete = all(each in self._accepting for worker in self._workers for each in worker.labels)
        if complete:
            self._serving = True
            self._descend()
        print_ready(label, bound)
        if complete and not self._ending:
            self._notifier.ready(self._say())
            self._watch()

    def _descend(self) -> None:
        if self._user is None or os.geteuid() != 0:
            return
        try:
            become(self._user)
        except (KeyError, OSError) as why:
            logger.error("user %s: %s: all end", self._user, why)
            self._status = LOST
            self._end(0.0)

    def _settle(self, worker: Worker) -> None:
        was, worker.settling = worker.settling, False
        if was and not self._ending and not any(one.settling for one in self._workers):
            self._notifier.ready(self._say())

    def _say(self) -> str:
        return f"{len(self._workers)} processes: {', '.join(self._accepting.values())}"

    def _watch(self) -> None:
        """Tell the watchdog of us as long as every worker's event loop turns."""
        if (period := self._notifier.period) is None:
            return
        loop = asyncio.get_running_loop()
        stuck = [one for one in self._workers if one.status is None and loop.time() - one.beat_at > period]
        for worker in stuck:
            logger.error("%s (process %d) has not been heard for %.1f s", *_of(worker), loop.time() - worker.beat_at)
        if not stuck:
            self._notifier.alive()
        loop.call_later(period, self._watch)

    # --- what we are told

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        orders: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._leave,
            signal.SIGINT: self._leave,
            signal.SIGHUP: self._reload,
        }
        for number, order in orders.items():
            loop.add_signal_handler(number, order)

    def _leave(self) -> None:
        self._end(self._patience if self._serving and not self._ending else 0.0)

    def _reload(self) -> None:
        if self._ending:
            return
        if self._serving:
            self._notifier.reloading()
        for worker in self._workers:
            worker.settling = self._serving
            worker.order("reload")

    def _end(self, patience: float) -> None:
        """All take leave; again, sooner."""
        if not self._ending:
            self._ending = True
            self._notifier.stopping()
        for worker in self._workers:
            worker.order("drain" if patience else "cut")
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(patience + GRACE, self._lose_patience)

    def _lose_patience(self) -> None:
        for worker in self._workers:
            worker.kill()


def _of(worker: Worker) -> tuple[str, int]:
    return ", ".join(worker.labels), worker.pid


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"by {signal.Signals(-status).name}"
    return f"with status {status}"
