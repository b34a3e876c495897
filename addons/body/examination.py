"""What becomes known of one body while it comes in: its ACL, its decoded bytes, its verdict.

Rules of this file: bytes go in and nothing comes out but what is known; nothing waits and nothing raises, what goes
wrong is a verdict; a verdict that stops the body stays, one that passes it can still be taken back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace

from addons.body.alarms import Alarms
from addons.body.codings import Coding, CodingError, TooLarge
from addons.body.form_files import unpack_form
from addons.body.form_parts import FormError
from addons.body.intake import Intake
from inspection.inspect_object import Inspection, Inspector, Subject
from inspection.spool import SpoolRoom
from policy.decision import Choice, Reason
from policy.model import DocAcl
from policy.verdict import Status

logger = logging.getLogger(__name__)

HEAD = 4096  # what a `magic` condition waits for, bytes
HEAD_WAIT = 5.0  # and for how long, seconds

# A status that needs no engine, and why.
type Fault = tuple[Status, str]


class Examination:
    """The examination of one body. `length` is the announced length in bytes as transferred, None where unknown;
    `fault` is what is wrong with the body already; `news` is called when the ACL or the verdict has become known.

    `has_left` is to be set once a byte of the body has left: what it was when it left it must then remain."""

    def __init__(
        self,
        subject: Subject,
        choice: Choice[DocAcl],
        inspector: Inspector,
        room: SpoolRoom,
        *,
        coding: Coding,
        length: int | None,
        fault: Fault | None,
        news: Callable[[], None],
    ) -> None:
        self.subject = subject
        self.choice = choice
        self.inspection: Inspection | None = None
        self._room = room
        self.intake = Intake(room, coding, self._grown)
        self.has_left = False
        self._inspector = inspector
        self._identity = not coding.passthrough
        self._length = length
        self._fault = fault
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- what is known

    @property
    def passes(self) -> bool:
        """True where the verdict lets the body pass."""
        return self.inspection is not None and self.inspection.decision.passes

    @property
    def is_stopped(self) -> bool:
        """True where the verdict stops the body."""
        return self.inspection is not None and not self.passes

    @property
    def gives_identity(self) -> bool:
        """True where the receiver gets the decoded bytes instead of the origin's."""
        return self._identity and self.intake.outgoing is self.intake.content

    # --- what happens

    def start(self, alarms: Alarms) -> None:
        """The headers are here and a body follows."""
        if self.choice.waits_for_head:
            alarms.set("head", self._loop.time() + HEAD_WAIT, lambda: self._choose(at_once=True))
        else:
            self._chosen()
        if self.inspection is None and self.intake.coded:
            self._run(self._decode)

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, as transferred."""
        if self.is_stopped:
            return
        try:
            self.intake.feed(data)
        except OSError as error:
            self._fail(Status.ERROR, f"no room to spool: {error}")

    def finish(self) -> None:
        """The body is complete."""
        self.intake.finish()
        if self.intake.coded:
            return
        if self.choice.waits_for_head:
            self._choose(at_once=True)
        else:
            self._check()

    def stop(self, reason: Reason, why: str, status: Status = Status.ERROR) -> None:
        """Something outside the policy stops the body."""
        self._settle(self._inspector.stop(self.choice, status, reason, why))

    def close(self) -> None:
        """End the check and give the spools back. May be called twice."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._close_intake()

    def _close_intake(self) -> None:
        """Not before the check has ended: it may be reading in a thread, and descriptors' numbers are used again."""
        if self._closed and not self._tasks:
            self.intake.close()

    # --- the ACL

    def _chosen(self) -> None:
        """The ACL is known, and with it perhaps all that there is to know."""
        if self._fault is not None:
            self.intake.deliver_as_transferred()
            self._settle(self._inspector.judge(self.choice, *self._fault))
        elif not self._inspector.engines(self.choice):
            self.intake.deliver_as_transferred()
            self._settle(self._inspector.judge(self.choice, None))
        elif self._length is not None and not self.intake.coded:
            self._skip(self._length)
        self._news()

    def _choose(self, *, at_once: bool = False) -> None:
        """Judge the `magic` conditions as soon as the head is here."""
        head = self.intake.content.read(0, HEAD)
        if not self.choice.waits_for_head or (len(head) < HEAD and not at_once):
            return
        try:
            self.choice = self._inspector.choose(replace(self.subject.facts, head=head))
        except Exception as error:
            self._crashed(error)
            return
        self._chosen()
        self._skip(self.intake.content.size)
        if self.intake.content.complete:
            self._check()

    def _grown(self, size: int) -> None:
        if self.choice.waits_for_head:
            self._choose()
        else:
            self._skip(size)

    # --- the verdict

    def _settle(self, inspection: Inspection) -> None:
        """Another verdict counts only where it stops what had passed."""
        if self.inspection is not None and (self.is_stopped or inspection.decision.passes):
            return
        self.inspection = inspection
        self._news()

    def _skip(self, size: int) -> None:
        """An object that every engine would skip is judged at once; the engines are not asked."""
        if self.inspection is None and self._inspector.skips(self.choice, size):
            self._settle(self._inspector.judge(self.choice, Status.SKIPPED, "larger than max-checked-size"))

    def _check(self) -> None:
        if self.inspection is None:
            self._run(self._inspect)

    async def _inspect(self) -> None:
        """The body as a whole and, where that may pass, what it is to those who do not decode it, and each file in a
        form."""
        whole = await self._inspector.inspect(self.subject, self.choice, self.intake.content)
        if not whole.decision.passes:
            self._settle(whole)
            return
        if self.intake.reads_as_a_file and self.intake.outgoing is self.intake.raw:
            whole = await self._inspector.inspect(self.subject, self.choice, self.intake.raw)
            if not whole.decision.passes:
                self._settle(whole)
                return
        try:
            stopped = await self._find_bad_file()
        except FormError as error:
            stopped = self._inspector.judge(self.choice, Status.UNKNOWN, str(error))
        except OSError as error:
            self._fail(Status.ERROR, f"no room to spool: {error}")
            return
        self._settle(stopped or whole)

    async def _find_bad_file(self) -> Inspection | None:
        """The verdict on the first file of a form that does not pass, None where all do. A form is what a server takes
        apart; a download of that type, as a saved page, has no parts that all clients would store as files."""
        facts = self.subject.facts
        kind = facts.content_type if facts.direction == "upload" else None
        async for file in unpack_form(self.intake.content, kind, self._room):
            inspection = await self._inspector.inspect(self.subject, self.choice, file)
            if not inspection.decision.passes:
                return inspection
        return None

    def _fail(self, status: Status, why: str) -> None:
        """The body cannot be checked, or no longer be delivered: where something has left, it is cut."""
        if status is Status.ERROR or (self.has_left and self._identity):
            self.stop(Reason.ANTIVIRUS_ERROR, why, status)
        else:
            self._settle(self._inspector.judge(self.choice, status, why))

    # --- the codings

    async def _decode(self) -> None:
        try:
            await self.intake.decode()
        except CodingError as error:
            self._fail_decoding(Status.SKIPPED if isinstance(error, TooLarge) else Status.UNKNOWN, str(error))
        except OSError as error:
            self._fail_decoding(Status.ERROR, f"no room to spool: {error}")
        else:
            await self._decoded()
        self._news()

    async def _decoded(self) -> None:
        if not self.intake.reads_one_way and not self._leaves_as_it_came:
            self._leave_decoded()
        elif self.intake.reads_as_a_file and not self.has_left and not self._leaves_as_it_came:
            self._leave_decoded()
        if self.choice.waits_for_head:
            self._choose(at_once=True)
        elif self.inspection is None:
            await self._inspect()

    @property
    def _leaves_as_it_came(self) -> bool:
        """True where the policy has passed the origin's bytes already, whatever is in them."""
        return self.passes and self.intake.outgoing is self.intake.raw

    def _leave_decoded(self) -> None:
        """Some clients would read less of these bytes than we did: they get what was checked, or nothing."""
        if self.has_left:
            self._fail(Status.UNKNOWN, "several members in one body, of which some clients read only the first")
        else:
            self.intake.deliver_decoded()
            self._identity = True

    def _fail_decoding(self, status: Status, why: str) -> None:
        if self._leaves_as_it_came:
            return
        if self.choice.waits_for_head:
            self._fault = (status, why)
            self._choose(at_once=True)
            return
        if not self.has_left:
            self.intake.deliver_as_transferred()
        self._fail(status, why)

    # --- tasks

    def _run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Start a part of the check; it is held here, and ended by `close`."""
        task = self._loop.create_task(self._fail_closed(work))
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._close_intake()

    async def _fail_closed(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Whatever goes wrong in our own code is an `error` of this body, and told in the log."""
        try:
            await work()
        except Exception as error:
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        logger.error("antivirus: the check of %s failed", self.subject.id, exc_info=error)
        self._fail(Status.ERROR, f"the check failed: {error!r}")

    def __repr__(self) -> str:
        verdict = "undecided" if self.inspection is None else "passes" if self.passes else "stopped"
        return f"Examination({verdict}, {self.intake!r})"
