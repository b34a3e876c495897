"""One mail, from its last octet to the answer that the client gets.

Rules of this file: one record for a mail, whatever becomes of it; replies to strangers name status and id, no more; the
mail is in the quarantine before anybody is answered; no 250 of our own but for `discard`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from mailgw.channel import Channel, PeerGone
from mailgw.envelope import Envelope
from mailgw.inspect_mail import inspect_mail
from mailgw.line_reader import is_gone
from mailgw.outcome import MailOutcome, make_record
from mailgw.smtp.delivery import Delivery, reset
from mailgw.smtp.intake import BARE, Intake
from mailgw.smtp.loop_guard import LOOP, find_loop
from mailgw.smtp.next_hop import NextHop
from mailgw.smtp.replies import Reply
from mailgw.smtp.site import SmtpSite
from policy.decision import Action, MailDecision, Reason
from policy.verdict import Status


@dataclass(slots=True)
class Mail:
    """`offer`: what the next hop was found to understand. `chunked`: it came by BDAT and leaves so."""

    site: SmtpSite
    channel: Channel
    hop: NextHop
    envelope: Envelope
    intake: Intake
    offer: frozenset[str] = frozenset()
    chunked: bool = False
    _began: float = field(default_factory=time.monotonic)

    async def settle(self) -> Reply:
        """Check it, do what the policy says, record it. Raises PeerGone where the client has left meanwhile: then
        nothing was delivered."""
        if (fault := self.intake.finish() or find_loop(self.intake.spool)) is not None:
            return await self._refuse_unseen(fault)
        outcome: MailOutcome | None = None
        try:
            outcome = await self._inspect()
            return await self._carry_out(outcome)
        except PeerGone:
            self._remember(outcome)
            self._record(outcome or _unjudged(Reason.CLIENT_GONE), Action.CUT, Reason.CLIENT_GONE)
            raise
        finally:
            if outcome is not None:
                outcome.close()

    async def _refuse_unseen(self, fault: Reply) -> Reply:
        """There was no room for it, which is an `error`; or its line ends are such that others might read two mails in
        it, or it goes round in circles."""
        await reset(self.hop)
        unseen = _unjudged(Reason.PROTOCOL) if fault in (BARE, LOOP) else _unjudged(Reason.ANTIVIRUS_ERROR)
        self._record(unseen, Action.DEFER if fault.code < 500 else Action.DENY)
        return fault

    async def _inspect(self) -> MailOutcome:
        """Raises PeerGone as soon as the client leaves; the check ends then."""
        loop = asyncio.get_running_loop()
        kept = self.site.kept.recall(self._key())
        check = loop.create_task(inspect_mail(self.site.checkpoint, self.envelope, self.intake.spool, kept=kept))
        gone = loop.create_task(self.channel.wait_gone(is_gone))
        try:
            await asyncio.wait({check, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not check.done():
                raise PeerGone("the client left during the check")
            return check.result()
        finally:
            for task in (check, gone):
                task.cancel()
            await asyncio.gather(check, gone, return_exceptions=True)

    async def _carry_out(self, outcome: MailOutcome) -> Reply:
        decision = outcome.decision
        if decision.passes:
            return await self._deliver(outcome)
        await reset(self.hop)
        self._record(outcome)
        return make_answer(decision, self.envelope.id)

    async def _deliver(self, outcome: MailOutcome) -> Reply:
        delivery = Delivery(
            hop=self.hop,
            body=outcome.form or self.intake.spool,
            gone=lambda: is_gone(self.channel),
            copies=outcome.decision.copy_to,
            dsn="DSN" in self.offer,
            chunked=self.chunked,
        )
        reply = await delivery.run()
        if reply.good:
            self.site.kept.forget(self._key())
            self._record(outcome)
            return reply
        self._remember(outcome)
        self._record(outcome, Action.DENY if reply.code >= 500 else Action.DEFER, Reason.UPSTREAM)
        return reply

    def _remember(self, outcome: MailOutcome | None) -> None:
        """The client will try again, and what is kept need not be kept twice."""
        if outcome is not None and outcome.quarantine is not None:
            self.site.kept.remember(self._key(), outcome.quarantine)

    def _key(self) -> tuple[object, ...]:
        return (self.intake.spool.sha256, self.envelope.sender, self.envelope.recipients)

    def _record(self, outcome: MailOutcome, action: Action | None = None, reason: Reason | None = None) -> None:
        record = make_record(
            self.site.name,
            self.envelope,
            self.intake.spool,
            outcome,
            action=action,
            reason=reason,
            ms=(time.monotonic() - self._began) * 1000,
        )
        self.site.checkpoint.audit.write(record)


def make_answer(decision: MailDecision, mail_id: str) -> Reply:
    """What the client is told of a mail that does not go on."""
    if decision.action is Action.DISCARD:
        return Reply.make(250, "2.0.0", f"{decision.reply or 'accepted'}, id {mail_id}")
    text = f"{decision.reply or f'not accepted: {decision.status}'}, id {mail_id}"
    if decision.action is Action.DENY:
        return Reply.make(554, "5.7.1", text)
    return Reply.make(451, "4.7.1", text)


def _unjudged(reason: Reason) -> MailOutcome:
    return MailOutcome(
        decision=MailDecision(action=Action.DENY, reason=reason, status=Status.ERROR),
        checked=reason is Reason.ANTIVIRUS_ERROR,
    )
