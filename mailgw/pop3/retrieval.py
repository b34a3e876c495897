"""One mail, from RETR or TOP to the last octet of its answer.

Rules of this file: the server is asked for the whole mail, whatever the client wants of it; nothing of a body leaves
before the verdict; one record for a mail that was fetched, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import NoReturn

from inspection.spool import Spool, SpoolFull
from inspection.under_way import Phase, UnderWay
from mailgw.channel import Channel, PeerGone, PeerSilent
from mailgw.envelope import Envelope
from mailgw.inspect_mail import inspect_mail
from mailgw.kept_mails import KeptMails
from mailgw.line_reader import is_gone
from mailgw.outcome import MailOutcome, make_record
from mailgw.pop3.copy import Copy
from mailgw.pop3.false_end import has_false_end
from mailgw.pop3.keep_alive import EVERY, KeepAlive
from mailgw.pop3.replies import Reply, refuse
from mailgw.pop3.server import Server, ServerGone
from mailgw.pop3.site import Pop3Site
from mailgw.pop3.top import measure_top
from policy.decision import Action, MailDecision, Reason
from policy.verdict import Status


class Refusal(Exception):
    """The client gets no octet of the mail; `reply` says why, `outcome` None: the server does. The session goes on."""

    def __init__(self, reply: Reply, outcome: MailOutcome | None = None) -> None:
        super().__init__(str(reply))
        self.reply, self.outcome = reply, outcome


class CutShort(Refusal):
    """The client had octets of a mail that is refused: all it can be told is an end without the final dot."""


@dataclass(slots=True, eq=False)
class Retrieval:
    """`lines` as TOP's, None for RETR. `kept`: what is in the quarantine already."""

    site: Pop3Site
    channel: Channel
    server: Server
    envelope: Envelope
    kept: KeptMails
    number: int
    lines: int | None = None
    _keep_alive: KeepAlive = field(default_factory=KeepAlive)
    _status: Reply | None = None
    _spool: Spool | None = None
    _began: float = field(default_factory=time.monotonic)
    _delivering: bool = False

    def close(self) -> None:
        """End it at once: the client sees no final dot."""
        self.channel.abort()
        self.server.abort()

    def tell(self) -> UnderWay:
        """For whoever looks on."""
        spool = self._spool
        return UnderWay(
            id=self.envelope.id,
            client=self.envelope.client,
            object=self.envelope.user,
            direction="download",
            received=spool.size if spool else 0,
            sent=self._keep_alive.sent or 0,
            phase=self._phase(),
            age=time.monotonic() - self._began,
        )

    def _phase(self) -> Phase:
        if self._delivering:
            return "sending"
        if self._keep_alive.sent is not None:
            return "trickling"
        return "checking" if self._spool is not None and self._spool.complete else "receiving"

    async def run(self) -> Copy:
        """Fetch, check, answer; the caller closes the copy. Raises Refusal, CutShort, ServerGone, PeerGone."""
        try:
            copy = await self._obtain()
        except BaseException as error:
            if self._spool is not None:
                self._spool.close()
            if self._keep_alive.sent is None or not isinstance(error, Exception) or isinstance(error, PeerGone):
                raise
            raise CutShort(refuse(str(error))) from error  # no word would be read as one amid a mail
        try:
            if not copy.outcome.decision.passes:
                self._record(copy.outcome)
                self._refuse(refuse_mail(copy.outcome, copy.envelope), copy.outcome)
            await self._deliver(copy)
        except BaseException:
            copy.close()
            raise
        return copy

    async def _obtain(self) -> Copy:
        """The mail, judged; the client gets a sign of life now and then. Its leaving ends it all."""
        loop = asyncio.get_running_loop()
        job = loop.create_task(self._fetch_and_check())
        gone = loop.create_task(self.channel.wait_gone(is_gone))
        deadline = loop.time() + self.site.proxy.keep_alive
        try:
            while not job.done() and not gone.done():
                await asyncio.wait({job, gone}, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
                if loop.time() >= deadline:
                    self._sign_of_life()
                    deadline = loop.time() + EVERY
            if not job.done():
                raise PeerGone("the client left during the check")
            return job.result()
        except PeerGone:
            self._record(_unjudged(Reason.CLIENT_GONE), Action.CUT, Reason.CLIENT_GONE)
            raise
        except ServerGone:
            self._record(_unjudged(Reason.UPSTREAM), Action.CUT, Reason.UPSTREAM)
            raise
        finally:
            await self._end(job, gone)

    async def _end(self, job: asyncio.Task[Copy], gone: asyncio.Task[None]) -> None:
        """A copy that nobody waits for any more is closed."""
        wanted = job.done()
        for task in (job, gone):
            task.cancel()
        ended, _ = await asyncio.gather(job, gone, return_exceptions=True)
        if not wanted and isinstance(ended, Copy):
            ended.close()

    def _sign_of_life(self) -> None:
        if self._status is None or self._spool is None:
            return  # the server has not said yet whether there is such a mail
        if self._keep_alive.sent is None:
            self._keep_alive.begin()
            self.channel.write(self._good().wire())
        elif octet := self._keep_alive.next_octet(self._spool):
            self.channel.write(octet)

    def _good(self) -> Reply:
        """TOP's status line says nothing of the mail's size."""
        return self._status if self._status is not None and self.lines is None else Reply(b"+OK")

    async def _fetch_and_check(self) -> Copy:
        status = await self.server.ask(b"RETR %d" % self.number)
        if not status.good:
            raise Refusal(status)
        self._status = status
        self._spool = spool = self.site.checkpoint.room.open()
        if not await self._fill(spool):
            outcome = _unjudged(Reason.ANTIVIRUS_ERROR, Status.ERROR, "no room to spool")
            return Copy(self.number, status, self.envelope, spool, outcome)
        if self.envelope.engines is not None and await asyncio.to_thread(has_false_end, spool):
            return Copy(self.number, status, self.envelope, spool, _FALSE_END)
        key = (self.envelope.user, spool.sha256)
        kept = self.kept.recall(key)
        # Whoever fetches it again reads the same octets: the id in a replacement is that of the entry that is there.
        envelope = replace(self.envelope, id=kept or self.envelope.id)
        outcome = await inspect_mail(self.site.checkpoint, envelope, spool, kept=kept)
        if outcome.quarantine is not None:
            self.kept.remember(key, outcome.quarantine)
        self.site.checkpoint.blocked.notice_versions(outcome.reports)
        return Copy(self.number, status, self.envelope, spool, outcome)

    async def _fill(self, spool: Spool) -> bool:
        """Spool what the server sends; False where there was no room: it is read to its end all the same, so that the
        session can go on, but not without bound."""
        fits, dropped = True, 0
        async for piece in self.server.read_mail():
            if fits:
                try:
                    spool.append(piece)
                except (SpoolFull, OSError):
                    fits = False
            else:
                dropped += len(piece)
            if dropped > self.site.checkpoint.room.max_object:
                self.server.abort()
                raise ServerGone("a mail without end")
        spool.finish()
        return fits

    async def _deliver(self, copy: Copy) -> None:
        self._delivering = True
        try:
            await self._send(copy)
        except PeerGone:
            self._record(copy.outcome, Action.CUT, Reason.CLIENT_GONE)
            raise
        self._record(copy.outcome)

    async def _send(self, copy: Copy) -> None:
        if self._keep_alive.sent is None:
            self.channel.write(self._good().wire())
        await send_copy(self.channel, copy, self.lines, self.site.proxy.limits.stall, self._keep_alive)

    def _refuse(self, reply: Reply, outcome: MailOutcome) -> NoReturn:
        raise (Refusal if self._keep_alive.sent is None else CutShort)(reply, outcome)

    def _record(self, outcome: MailOutcome, action: Action | None = None, reason: Reason | None = None) -> None:
        if self._spool is None:
            return  # no mail came
        record = make_record(
            self.site.name,
            self.envelope,
            self._spool,
            outcome,
            action=action,
            reason=reason,
            ms=(time.monotonic() - self._began) * 1000,
        )
        self.site.checkpoint.audit.write(replace(record, released=self._keep_alive.sent or 0))


async def send_copy(channel: Channel, copy: Copy, lines: int | None, stall: float, sent: KeepAlive) -> None:
    """All of it, or TOP's part, with the final dot; without what was sent. Raises PeerGone where that fails."""
    try:
        size = None if lines is None else await asyncio.to_thread(measure_top, copy.form, lines)
        for piece in sent.skip_sent(copy.stuffed(size)):
            channel.write(piece)
            await channel.drain(stall)
    except (PeerSilent, OSError) as error:
        raise PeerGone(f"amid a mail: {error}") from error
    channel.write(b".\r\n")


def refuse_mail(outcome: MailOutcome, envelope: Envelope) -> Reply:
    """Rule, engines, status, virus and id: the mailbox is the client's own."""
    decision = outcome.decision
    words = [f"not accepted: {decision.status}", outcome.virus or ""]
    if decision.status is not Status.ERROR or decision.acl:
        words.append(f"({decision.acl or 'no rule'}, {', '.join(envelope.engines or ())})")
    text = decision.reply or " ".join(filter(None, words))
    code = "SYS/TEMP" if decision.action is Action.DEFER else ""
    return refuse(f"{text}, id {envelope.id}", code=code)


def _unjudged(reason: Reason, status: Status = Status.SKIPPED, detail: str = "") -> MailOutcome:
    """Nobody was asked; `error` is what we could not do ourselves, and is deferred."""
    ours = status is Status.ERROR
    decision = MailDecision(action=Action.DEFER if ours else Action.DENY, reason=reason, status=status)
    return MailOutcome(decision=decision, checked=ours, detail=detail)


_FALSE_END = MailOutcome(
    decision=MailDecision(
        action=Action.DENY,
        reason=Reason.PROTOCOL,
        status=Status.UNKNOWN,
        reply="a line that some clients take for the mail's end",
    ),
    checked=False,
)
