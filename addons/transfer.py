"""One body on its way through the gateway: spooled as it arrives, trickled while it waits, then passed or stopped.

Rules of this file: the stream layer feeds it and never waits; whatever goes wrong ends in a step that stops the
body; `next_step` has one caller at a time and tells it what may leave; the verdict comes once; whoever made a
transfer closes it, and that closes its spools and ends its check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import cached_property

from mitmproxy import http

from addons.codings import Coding, CodingError, TooLarge
from addons.intake import Intake
from addons.ranges import Piece, Wanted, resolve
from addons.receiver import Receiver, ReceiverStuck
from addons.steps import Cut, Finish, HandOver, Refuse, Release, Step, Whole
from inspection.inspect_object import Inspection, Inspector, Subject
from inspection.spool import SpoolRoom
from inspection.trickle import Trickle
from policy.decision import Action, Choice, Reason
from policy.model import DocAcl
from policy.verdict import Status

logger = logging.getLogger(__name__)

SLICE = 256 * 1024  # what leaves in one step at full speed, bytes
WHOLE = 256 * 1024  # up to this size a passed body is an ordinary buffered message, bytes
HEAD = 4096  # what a `magic` condition waits for, bytes
HEAD_WAIT = 5.0  # and for how long, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a transfer needs of the gateway and of its peers; the addon lays it out."""

    inspector: Inspector
    room: SpoolRoom
    stall: float  # the longest wait for a peer's next bytes, seconds
    page: Callable[[Transfer], http.Response]
    receiver: Callable[[], Receiver]  # the peer that the body goes to, once it is connected
    settled: Callable[[Transfer], None]  # the verdict is known
    ended: Callable[[Transfer, Step], None]  # the last step is known; called once


class Transfer:
    """One body, one direction. `length` is the announced length in bytes as transferred, None where unknown;
    `fault` is what is already known to be wrong with it, `wanted` the piece that the client asked for."""

    def __init__(
        self,
        subject: Subject,
        choice: Choice[DocAcl],
        way: Way,
        *,
        coding: Coding,
        length: int | None,
        upload: bool,
        fault: Inspection | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.subject = subject
        self.choice = choice
        self.way = way
        self.upload = upload
        self.wanted = wanted
        self.piece: Piece | None = None  # what leaves of the whole, known when it does
        self.sent = 0
        self.inspection: Inspection | None = None
        self.last: Step | None = None
        self.intake = Intake(way.room, coding, self._grown)
        self._identity = not coding.passthrough
        self._length = length
        self._fault = fault
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self._fed = self.began
        self._clock = self._make_clock()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []

    # --- what the stream layer calls: bytes and ends; never waits, never raises

    def start(self) -> None:
        """The headers are here and a body follows."""
        self._watch_stall()
        if self._fault is not None:
            self._settle(self._fault)
        elif self.choice.waits_for_head:
            self._call_at(self.began + HEAD_WAIT, lambda: self._choose(at_once=True))
        else:
            self._chosen()

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, as transferred."""
        self._fed = self._loop.time()
        if self._is_over:
            return
        try:
            self.intake.feed(data)
        except OSError as error:
            self._fail(Status.ERROR, f"no room to spool: {error}")
        self._tick_from(self._fed)
        if self.inspection is not None:
            self._wake.set()

    def finish(self) -> None:
        """The body is complete."""
        if self.intake.complete or self._is_over:
            return
        self.intake.finish()
        if self.choice.waits_for_head and not self.intake.coded:
            self._choose(at_once=True)
        elif not self.intake.coded:
            self._check()
        self._wake.set()

    @property
    def _is_over(self) -> bool:
        """True where what still arrives is for nobody; a hand-over is not carried out yet, and takes it along."""
        return self.last is not None and not isinstance(self.last, HandOver)

    def rest(self) -> bytes:
        """What has arrived since the last step; to be taken when a hand-over is carried out."""
        return self._release(self.intake.outgoing.size - self.sent).data

    def abandon(self, reason: Reason, why: str) -> None:
        """A peer is gone or failed: nothing more leaves and everything is given back."""
        if self.last is None:
            self.inspection = self._stopped(reason, why)
            self._end(Cut(why))
        self.close()

    def close(self) -> None:
        """Give back spools, timers and the check. May be called twice."""
        for task in self._tasks:
            task.cancel()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.intake.close()
        if self.last is None:
            self._end(Cut("closed"))

    async def judge(self, content: bytes) -> bool:
        """For a message that is whole in memory: True where it may pass. Nothing remains to be carried out."""
        self.start()
        self.feed(content)
        self.finish()
        while self.inspection is None:
            await self._wake.wait()
            self._wake.clear()
        self._end(Whole(content) if self._passes else Cut(self._word()))
        self.close()
        return self._passes

    @property
    def age(self) -> float:
        """Seconds since the headers were here."""
        return self._loop.time() - self.began

    @property
    def leaves_as_identity(self) -> bool:
        """True where the receiver gets the decoded bytes instead of the origin's."""
        return self._identity and self.intake.outgoing is self.intake.content

    # --- what the pump calls

    async def next_step(self) -> Step:
        """The next thing to do, once there is one; after the last one, the last one again."""
        if self.sent and self._passes:
            await self._wait_for_receiver()
        while True:
            if (step := self.last or self._step()) is not None:
                return step
            await self._wake.wait()
            self._wake.clear()

    async def _wait_for_receiver(self) -> None:
        try:
            await self.receiver.drained(self.way.stall)
        except ReceiverStuck as error:
            self.abandon(Reason.UPSTREAM if self.upload else Reason.CLIENT_GONE, str(error))

    @cached_property
    def receiver(self) -> Receiver:
        """The peer that the body goes to; asked for when the first bytes leave."""
        return self.way.receiver()

    def _step(self) -> Step | None:
        if self.inspection is None:
            return self._trickle()
        if self._passes:
            return self._pass_on()
        return self._stop()

    def _trickle(self) -> Step | None:
        if self._clock is None:
            return None
        size = self._clock.release(self._loop.time(), self.intake.outgoing.size)
        self._arm_tick()
        return self._release(size) if size else None

    def _pass_on(self) -> Step | None:
        outgoing = self.intake.outgoing
        if outgoing.complete:
            return self._pass_complete()
        if self.wanted is not None and self._length is None:
            return None  # how long the object is decides what the piece is
        self.wanted = None
        if self.sent < outgoing.size:
            return self._release(SLICE)
        if outgoing is self.intake.raw:
            return self._end(HandOver())
        return None

    def _pass_complete(self) -> Step:
        outgoing = self.intake.outgoing
        if self.piece is None and self.wanted is not None:
            self.piece = resolve(self.wanted, outgoing.size)
        start, stop = (self.piece.start, self.piece.stop) if self.piece else (0, outgoing.size)
        if not self.sent and stop - start <= WHOLE:
            return self._end(Whole(outgoing.read(start, stop - start)))
        if start + self.sent < stop:
            return self._release(min(SLICE, stop - start - self.sent), start)
        return self._end(Finish())

    def _stop(self) -> Step:
        if self.sent:
            return self._end(Cut(f"antivirus: {self._word()}"))
        return self._end(Refuse(self.way.page(self)))

    def _word(self) -> str:
        inspection = self.inspection
        if inspection is None or inspection.status is None:
            return "refused"
        return f"{inspection.status} {inspection.virus or ''}".rstrip()

    def _release(self, size: int, start: int = 0) -> Release:
        data = self.intake.outgoing.read(start + self.sent, size)
        self.sent += len(data)
        return Release(data)

    def _end(self, step: Step) -> Step:
        self.last = step
        self.way.ended(self, step)
        self._wake.set()
        return step

    # --- the verdict

    @property
    def released(self) -> int:
        """Bytes that left before the verdict."""
        return self._clock.released if self._clock else 0

    @property
    def _passes(self) -> bool:
        return self.inspection is not None and self.inspection.decision.action is Action.ACCEPT

    def _chosen(self) -> None:
        if not self.way.inspector.engines(self.choice):
            self._settle(self.way.inspector.judge(self.choice, None))
            return
        if self._length is not None and not self.intake.coded:
            self._skip(self._length)
        if self.inspection is None and self.intake.coded:
            self._run(self._decode())

    def _choose(self, *, at_once: bool = False) -> None:
        """Judge the `magic` conditions as soon as the head is here."""
        head = self.intake.content.read(0, HEAD)
        if not self.choice.waits_for_head or (len(head) < HEAD and not at_once):
            return
        self.choice = self.way.inspector.choose(replace(self.subject.facts, head=head))
        self._chosen()
        if self.intake.content.complete:
            self._check()

    def _grown(self, size: int) -> None:
        if self.choice.waits_for_head:
            self._choose()
        else:
            self._skip(size)

    def _skip(self, size: int) -> None:
        """An object that every engine would skip is judged at once; the engines are not asked."""
        if self.inspection is None and self.way.inspector.skips(self.choice, size):
            self._settle(self.way.inspector.judge(self.choice, Status.SKIPPED, "larger than max-checked-size"))

    def _check(self) -> None:
        if self.inspection is None:
            self._run(self._inspect())

    async def _inspect(self) -> None:
        self._settle(await self.way.inspector.inspect(self.subject, self.choice, self.intake.content))

    async def _decode(self) -> None:
        try:
            await self.intake.decode()
        except CodingError as error:
            self.intake.deliver_as_transferred()
            self._fail(Status.SKIPPED if isinstance(error, TooLarge) else Status.UNKNOWN, str(error))
        except OSError as error:
            self._fail(Status.ERROR, f"no room to spool: {error}")
        else:
            if not self.intake.reads_one_way:
                self._leave_decoded()
            if self.inspection is None:
                await self._inspect()
            self._wake.set()

    def _leave_decoded(self) -> None:
        """Some clients would read less of these bytes than we did: they get what was checked, or nothing."""
        if self.sent:
            self._fail(Status.UNKNOWN, "several members in one body, of which some clients read only the first")
        else:
            self.intake.deliver_decoded()
            self._identity = True

    def _fail(self, status: Status, why: str) -> None:
        """The body cannot be checked, or no longer be delivered: where something has left, it is cut."""
        inspection = self.way.inspector.judge(self.choice, status, why)
        if status is Status.ERROR or (self.sent and self._identity):
            inspection = self._stopped(Reason.ANTIVIRUS_ERROR, why, status)
        self._settle(inspection, again=True)

    def _stopped(self, reason: Reason, why: str, status: Status = Status.ERROR) -> Inspection:
        return self.way.inspector.stop(self.choice, status, reason, why)

    def _settle(self, inspection: Inspection, *, again: bool = False) -> None:
        if self.last is not None or (self.inspection is not None and not again):
            return
        self.inspection = inspection
        self.way.settled(self)
        self._wake.set()

    # --- time

    def _make_clock(self) -> Trickle | None:
        acl = self.choice.acl
        if self.upload or self.wanted or acl is None or acl.interval is None or acl.chunk is None:
            return None
        return Trickle(interval=acl.interval, chunk=acl.chunk, limit=acl.limit)

    def _tick_from(self, now: float) -> None:
        if self._clock is None and not self.choice.waits_for_head:
            self._clock = self._make_clock()
        if self._clock is not None and self._clock.begin(now):
            self._arm_tick()

    def _arm_tick(self) -> None:
        due = self._clock.next_tick() if self._clock else None
        if due is not None and self.inspection is None:
            self._call_at(due, self._wake.set)

    def _watch_stall(self) -> None:
        """The sender's silence is bounded; the check's own time is the engines' affair."""
        if self.intake.complete or self.last is not None:
            return
        due = self._fed + self.way.stall
        if due <= self._loop.time():
            reason = Reason.CLIENT_GONE if self.upload else Reason.UPSTREAM
            self._settle(self._stopped(reason, f"no byte for {self.way.stall:g} s"), again=True)
        else:
            self._call_at(due, self._watch_stall)

    def _call_at(self, when: float, what: Callable[[], None]) -> None:
        now = self._loop.time()
        self._timers = [t for t in self._timers if not t.cancelled() and t.when() > now]
        self._timers.append(self._loop.call_at(when, what))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """Start a part of the check; the transfer holds it, and ends it when it is closed."""
        task = self._loop.create_task(self._fail_closed(work))
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fail_closed(self, work: Coroutine[None, None, None]) -> None:
        """Whatever goes wrong in our own code is an `error` of this body, and told in the log."""
        try:
            await work
        except Exception as error:
            logger.exception("antivirus: the check of %s failed", self.subject.id)
            self._fail(Status.ERROR, f"the check failed: {error!r}")

    def __repr__(self) -> str:
        way = "upload" if self.upload else "download"
        return f"Transfer({way}, {self.intake!r}, {self._word()}, sent {self.sent}, last {self.last!r})"
