"""The worker processes as the engine sees them.

Rules of this file: a few processes, each started when it is first needed; one object each at a time, in the order they
came; one that dies, is late or says what is no reply is killed, and its object is an `error`; nobody who gives up takes
a process along: it is told, and has a moment to come back; after `close` none is left, and none is waited for by the
system.
"""

from __future__ import annotations

import asyncio
import os

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.builtin.budget import Budget
from scanners.builtin.process import Lost, Worker
from scanners.engine import Answer, Body
from scanners.slots import Slots

COUNT = max(2, min(4, os.cpu_count() or 1))
"""Processes at the most."""

PATIENCE = Budget().seconds + 5
"""Seconds for one object: its own bound of time, and something for a busy machine."""

START = 20.0
"""Seconds for a process to start."""

GRACE = 1.0
"""Seconds that a process has to give up an object nobody waits for any more."""

IDLE = 300.0
"""Seconds after which a process without work is ended."""


class _Errand:
    """One object's way through a worker."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.worker: Worker | None = None
        self.abandoned = False

    def abandon(self) -> None:
        """Nobody waits any more: the worker is told, and killed where it does not listen."""
        self.abandoned = True
        if self.worker is not None:
            self.worker.stop()
            asyncio.get_running_loop().call_later(GRACE, self._insist)

    def _insist(self) -> None:
        if self.worker is not None:
            self.worker.kill()


class Workers:
    """Has objects searched by processes that know `knowledge`, for one event loop. `patience` in seconds."""

    def __init__(self, knowledge: bytes, *, count: int = COUNT, patience: float = PATIENCE) -> None:
        self._knowledge = MemoryBody(knowledge)
        self._patience = patience
        self._slots = Slots(count)
        self._idle: dict[Worker, asyncio.TimerHandle] = {}
        self._living: set[Worker] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Workers {len(self._living)} living, {len(self._idle)} idle, {self._slots!r}>"

    @property
    def pids(self) -> list[int]:
        """Of the living processes."""
        return [worker.pid for worker in self._living]

    async def ask(self, body: Body) -> Answer:
        """One worker's word on the body. Never raises but for cancellation, for RuntimeError after `close`, and for
        OSError where the body cannot be read."""
        if not self._slots.take_now():
            await self._slots.take()
        try:
            if self._closed:
                raise RuntimeError("the built-in engine is closed")
            errand = _Errand(body.descriptor(), body.size)
        except BaseException:
            self._slots.give_back()
            raise
        # A task of its own, held here: whoever asks may go away, the worker must come back all the same.
        running = self._hold(asyncio.get_running_loop().create_task(self._run(errand)))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            errand.abandon()
            raise

    async def close(self) -> None:
        """Ends all workers; what they were at is an `error`. Returns when they are gone."""
        self._closed = True
        for handle in self._idle.values():
            handle.cancel()
        self._idle.clear()
        for worker in list(self._living):
            worker.kill()
        # Those that wait for a place find us closed, and those under way find their worker gone.
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.gather(*(self._end(worker) for worker in list(self._living)))

    def _hold[T](self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, errand: _Errand) -> Answer:
        """Owns the errand's descriptor and its place."""
        try:
            return await self._serve(errand)
        except Lost as why:
            return Answer(Status.ERROR, detail=f"the worker process {why}")
        except TimeoutError:
            return Answer(Status.ERROR, detail="the worker process did not answer in time")
        except OSError as why:
            return Answer(Status.ERROR, detail=f"no worker process could be had: {why}")
        finally:
            os.close(errand.descriptor)
            self._slots.give_back()

    async def _serve(self, errand: _Errand) -> Answer:
        worker = self._pick() or await self._start()
        if errand.abandoned:
            await self._rest(worker)
            raise Lost("was not asked")
        errand.worker = worker
        try:
            async with asyncio.timeout(self._patience):
                answer = await worker.scan(errand.descriptor, errand.size)
        except BaseException:
            await self._end(worker)
            raise
        finally:
            errand.worker = None
        await self._rest(worker)
        return answer

    def _pick(self) -> Worker | None:
        """One that rests, the last that worked; those that died meanwhile are buried."""
        while self._idle:
            worker, handle = self._idle.popitem()
            handle.cancel()
            if worker.is_idle():
                return worker
            self._hold(asyncio.get_running_loop().create_task(self._end(worker)))
        return None

    async def _start(self) -> Worker:
        if self._closed:
            raise Lost("is not started any more")
        async with asyncio.timeout(START):
            worker = await Worker.start()
            self._living.add(worker)
            try:
                if self._closed:  # meanwhile, and without a word to this one
                    raise Lost("is not needed any more")
                await worker.teach(self._knowledge)
            except BaseException:
                await self._end(worker)
                raise
        return worker

    async def _rest(self, worker: Worker) -> None:
        if self._closed:
            await self._end(worker)
        else:
            self._idle[worker] = asyncio.get_running_loop().call_later(IDLE, self._retire, worker)

    def _retire(self, worker: Worker) -> None:
        del self._idle[worker]
        self._hold(asyncio.get_running_loop().create_task(self._end(worker)))

    async def _end(self, worker: Worker) -> None:
        await worker.end()
        self._living.discard(worker)
