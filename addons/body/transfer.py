"""One body on its way through the gateway: spooled as it arrives, trickled while it waits, then passed or stopped.

Rules of this file: the stream layer feeds it and never waits; whatever goes wrong ends in a step that stops the
body; `next_step` has one caller at a time and tells it what may leave; the last step comes once; whoever made a
transfer closes it, and that closes its spools and ends its check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mitmproxy import http

from addons.body.alarms import Alarms
from addons.body.codings import Coding
from addons.body.examination import Examination, Fault
from addons.body.intake import Intake
from addons.body.ranges import Piece, Wanted, resolve
from addons.body.steps import Cut, Fetch, Finish, HandOver, Refuse, Release, Step, Whole
from addons.wire.exchange import Plan
from addons.wire.receiver import Receiver, ReceiverStuck
from inspection.inspect_object import Inspection, Inspector, Subject
from inspection.spool import SpoolRoom
from inspection.trickle import Trickle
from inspection.under_way import Phase, UnderWay
from policy.decision import Choice, Reason
from policy.model import DocAcl

SLICE = 1024 * 1024  # what leaves in one step at full speed, bytes
WHOLE = 1024 * 1024  # up to this size a passed body is an ordinary buffered message, bytes


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
    # Make the request one for a piece, and say how its answer will be classified; None where nobody can be asked again.
    fetch: Callable[[Transfer, Piece], Plan] | None = None


class Transfer:
    """One body, one direction. `length` is the announced length in bytes as transferred, None where unknown;
    `fault` is a status that needs no engine, and why; `wanted` is the piece that the client asked for."""

    def __init__(
        self,
        subject: Subject,
        choice: Choice[DocAcl],
        way: Way,
        *,
        coding: Coding,
        length: int | None,
        upload: bool,
        fault: Fault | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.subject = subject
        self.way = way
        self.upload = upload
        self.wanted = wanted
        self.piece: Piece | None = None  # what leaves of the whole, known when it does
        self.sent = 0
        self.first_left: float | None = None  # seconds after the headers, of the body's first bytes
        self.last: Step | None = None
        self._length = length
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self._fed = self.began
        self._first: float | None = None  # when the first body byte came
        self._clock: Trickle | None = None
        self._wake = asyncio.Event()
        self._alarms = Alarms()
        self._told: Inspection | None = None
        self._closed = False
        self._examination = Examination(
            subject, choice, way.inspector, way.room, coding=coding, length=length, fault=fault, news=self._news
        )

    # --- what the stream layer calls: bytes and ends; never waits, never raises

    def start(self) -> None:
        """The headers are here and a body follows."""
        self._watch_stall()
        self._examination.start(self._alarms)

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, as transferred."""
        self._fed = self._loop.time()
        if self._is_over:
            return
        if self._first is None:
            self._first = self._fed
            self._start_clock()
        self._examination.feed(data)
        if self.inspection is not None:
            self._wake.set()

    def finish(self) -> None:
        """The body is complete."""
        if self.intake.complete or self._is_over:
            return
        self._examination.finish()
        self._wake.set()

    @property
    def _is_over(self) -> bool:
        """True where what still arrives is for nobody; a hand-over is not carried out yet, and takes it along."""
        return self._closed or (self.last is not None and not isinstance(self.last, HandOver))

    def rest(self) -> bytes:
        """What has arrived since the last step; to be taken when a hand-over is carried out."""
        return self._release(self.intake.outgoing.size - self.sent).data

    def abandon(self, reason: Reason, why: str) -> None:
        """A peer is gone or failed: nothing more leaves and everything is given back."""
        if self.last is None:
            self._examination.stop(reason, why)
            self._end(Cut(why))
        self._closed = True
        self._alarms.close()
        self._examination.close()

    def close(self) -> None:
        """Give back spools, timers and the check. May be called twice; before the last step it is a cut."""
        self.abandon(Reason.ANTIVIRUS_ERROR, "the gateway was closed")

    async def judge(self, content: bytes) -> bool:
        """For a message that is whole in memory: True where it may pass. Nothing remains to be carried out."""
        try:
            self.start()
            self.feed(content)
            self.finish()
            while self.inspection is None:
                await self._wake.wait()
                self._wake.clear()
            if self.last is None:
                self._end(Whole(content) if self._examination.passes else Cut(self._word()))
            return self._examination.passes
        finally:
            self.close()

    # --- what others want to know

    @property
    def inspection(self) -> Inspection | None:
        """The verdict, once there is one."""
        return self._examination.inspection

    @property
    def intake(self) -> Intake:
        """The body's spools."""
        return self._examination.intake

    @property
    def age(self) -> float:
        """Seconds since the headers were here."""
        return self._loop.time() - self.began

    def tell(self) -> UnderWay:
        """What it is doing at this moment."""
        facts = self.subject.facts
        return UnderWay(
            id=self.subject.id,
            client=facts.client,
            object=facts.url,
            direction=facts.direction,
            received=self.intake.raw.size,
            sent=self.sent,
            phase=self._phase,
            age=self.age,
        )

    @property
    def _phase(self) -> Phase:
        if self.inspection is not None:
            return "sending"
        if self.sent:
            return "trickling"
        return "checking" if self.intake.complete else "receiving"

    @property
    def released(self) -> int:
        """Bytes that left before the verdict."""
        return self._clock.released if self._clock else 0

    @property
    def leaves_as_identity(self) -> bool:
        """True where the receiver gets the decoded bytes instead of the origin's."""
        return self._examination.gives_identity

    # --- what the pump calls

    async def next_step(self) -> Step:
        """The next thing to do, once there is one; after the last one, the last one again."""
        if self.sent and self._examination.passes and self.last is None:
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
            self.receiver.abort()
            self.abandon(Reason.UPSTREAM if self.upload else Reason.CLIENT_GONE, str(error))

    @cached_property
    def receiver(self) -> Receiver:
        """The peer that the body goes to; asked for when the first bytes leave."""
        return self.way.receiver()

    def _step(self) -> Step | None:
        if self.inspection is None:
            return self._trickle()
        if self._examination.passes:
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
        if outgoing is not self.intake.raw and self.upload:
            return None  # a server is told the length beforehand
        if self.wanted is not None and self._length is None:
            return None  # how long the object is decides what the piece is
        if self.wanted is not None and self._length is not None and not self.sent:
            piece, self.wanted = resolve(self.wanted, self._length), None
            if piece is not None and piece.stop - piece.start == piece.size:
                self.piece = piece  # all of it, and so it need not be asked for again
            elif piece is not None and self.way.fetch is not None:
                return self._end(Fetch(piece))
        if self.sent < outgoing.size:
            return self._release(SLICE)
        if outgoing is self.intake.raw:
            return self._end(HandOver())
        return None

    def _pass_complete(self) -> Step:
        outgoing = self.intake.outgoing
        if self.leaves_as_identity:
            self.wanted = None  # the client counts in the coded bytes, of which it has a part
        if self.piece is None and self.wanted is not None:
            self.piece = resolve(self.wanted, outgoing.size)
        start, stop = (self.piece.start, self.piece.stop) if self.piece else (0, outgoing.size)
        if not self.sent and stop - start <= WHOLE:
            return self._end(Whole(outgoing.read(start, stop - start)))
        if start + self.sent < stop:
            return self._release(min(SLICE, stop - start - self.sent), start)
        return self._end(Finish())

    def _stop(self) -> Step:
        if self.sent or (self.inspection and self.inspection.decision.reason is Reason.CLIENT_GONE):
            return self._end(Cut(f"antivirus: {self._word()}"))
        return self._end(Refuse(self.way.page(self)))

    def _word(self) -> str:
        inspection = self.inspection
        if inspection is None or inspection.status is None:
            return "refused"
        return f"{inspection.status} {inspection.virus or ''}".rstrip()

    def _release(self, size: int, start: int = 0) -> Release:
        data = self.intake.outgoing.read(start + self.sent, size)
        if data and self.first_left is None:
            self.first_left = self.age
        self.sent += len(data)
        self._examination.has_left = self.sent > 0
        return Release(data)

    def _end(self, step: Step) -> Step:
        if isinstance(step, Whole) and self.first_left is None:
            self.first_left = self.age
        self.last = step
        self._wake.set()
        self.way.ended(self, step)
        return step

    # --- what wakes the pump

    def _news(self) -> None:
        """The ACL or the verdict has become known."""
        self._start_clock()
        if self.inspection is not self._told and self.last is None:
            self._told = self.inspection
            self.way.settled(self)
        self._wake.set()

    def _start_clock(self) -> None:
        """Ticks count from the first body byte, also where the ACL was chosen later."""
        acl = self._examination.choice.acl
        if self._clock is not None or self._first is None or self.upload or self.wanted or acl is None:
            return
        if acl.interval is None or acl.chunk is None:
            return
        self._clock = Trickle(interval=acl.interval, chunk=acl.chunk, limit=acl.limit)
        self._clock.begin(self._first)
        self._clock.release(self._loop.time(), 0)  # ticks before the choice are over
        self._arm_tick()

    def _arm_tick(self) -> None:
        due = self._clock.next_tick() if self._clock else None
        if due is not None and self.inspection is None:
            self._alarms.set("tick", due, self._wake.set)

    def _watch_stall(self) -> None:
        """The sender's silence is bounded; the check's own time is the engines' affair."""
        if self.intake.complete or self.last is not None:
            return
        now = self._loop.time()
        if self.sent and self.receiver.is_busy:
            self._fed = now  # mitmproxy does not read on while a receiver takes its time
        due = self._fed + self.way.stall
        if due <= now:
            reason = Reason.CLIENT_GONE if self.upload else Reason.UPSTREAM
            self._examination.stop(reason, f"no byte for {self.way.stall:g} s")
        else:
            self._alarms.set("stall", due, self._watch_stall)

    def __repr__(self) -> str:
        way = "upload" if self.upload else "download"
        return f"Transfer({way}, {self._examination!r}, sent {self.sent}, last {self.last!r})"
