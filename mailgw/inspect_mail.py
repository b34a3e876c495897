"""The walk of one mail: divide it, have every document scanned, decide, keep what is to be kept.

Rules of this file: it never raises but for cancellation; what goes wrong on our side is `error`, and that is deferred;
the caller carries the outcome out in its own protocol's words and has it recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from inspection.audit import DocumentEntry
from inspection.checkpoint import Checkpoint
from inspection.quarantine import QuarantineError
from mailgw.division import divide, make_in_thread
from mailgw.envelope import Envelope
from mailgw.mime.reader import Document, Mail
from mailgw.outcome import MailOutcome, find_message_id, make_metadata, replaces
from mailgw.plans import Layout, Plan, fill_texts, find_layout, plan_masks, plan_rewrites, read_templates
from policy.decide_mail import decide_mail
from policy.decision import Action, MailDecision, Reason
from policy.facts import DocumentFacts, MailFacts
from policy.model import MailProxy, SmtpProxy
from policy.verdict import ScanReport, Status, merge_documents
from scanners.antivirus import Antivirus
from scanners.engine import Body
from scanners.panel import check_document

logger = logging.getLogger(__name__)

_AT_ONCE = 4  # documents of one mail that are checked at the same time, besides the raw mail
_GRACE = 0.5  # seconds in which engines that have their own deadline tell of it


@dataclass(frozen=True, slots=True)
class _Checked:
    """A document and what the engines say of it; `head` are its first 4 KiB."""

    status: Status
    reports: tuple[ScanReport, ...]
    part: str
    content_type: str
    filename: str | None
    size: int
    head: bytes

    @property
    def virus(self) -> str | None:
        return next((r.virus for r in self.reports if r.virus), None)


async def inspect_mail[G: MailProxy](
    checkpoint: Checkpoint[G], envelope: Envelope, mail: Body, *, kept: str | None = None
) -> MailOutcome:
    """Have a complete mail scanned by `envelope.engines`, then decide. `kept`: the quarantine's entry of an earlier
    try of the same mail, which is not kept twice."""
    message_id = find_message_id(mail)
    if envelope.engines is None:
        return MailOutcome(
            decision=MailDecision(action=Action.ACCEPT, status=Status.SKIPPED), checked=False, message_id=message_id
        )
    try:
        outcome = await _judge(checkpoint, envelope, mail, kept or envelope.id)
    except TimeoutError as late:
        logger.warning("mail %s: %s", envelope.id, late or "its check takes too long")
        outcome = _judge_unchecked(checkpoint.proxy, envelope, mail, f"{late or 'its check takes too long'}")
    except Exception as error:
        logger.exception("the check of mail %s failed", envelope.id)
        outcome = _judge_unchecked(checkpoint.proxy, envelope, mail, f"the check failed: {error!r}")
    outcome = replace(outcome, message_id=message_id)
    if not outcome.decision.quarantine:
        return outcome
    try:
        return await _keep(checkpoint, envelope, mail, outcome, kept)
    except BaseException:
        outcome.close()
        raise


@dataclass(frozen=True, slots=True)
class _Assessment:
    """What the engines say of a mail, and where its documents lie."""

    checked: Sequence[_Checked]
    raw: _Checked | None
    layout: Layout
    findings: str


async def _judge[G: MailProxy](checkpoint: Checkpoint[G], envelope: Envelope, mail: Body, entry: str) -> MailOutcome:
    assessed = await _assess(checkpoint, envelope, mail)
    facts = _describe(envelope, mail, assessed.checked, assessed.raw)
    decision = decide_mail(checkpoint.proxy, facts)
    outcome = MailOutcome(
        decision=decision,
        reports=_merge_reports(assessed.checked, assessed.raw),
        documents=_list_documents(assessed.checked, facts, decision),
        detail=assessed.findings,
    )
    if decision.passes and (decision.prefix_subject is not None or replaces(decision)):
        return await _change(checkpoint, envelope, mail, outcome, assessed, entry)
    return outcome


async def _assess[G: MailProxy](checkpoint: Checkpoint[G], envelope: Envelope, mail: Body) -> _Assessment:
    engines = [checkpoint.antiviruses[name] for name in envelope.engines or ()]
    patience = max((checkpoint.policy.antivirus[name].timeout for name in envelope.engines or ()), default=0.0)
    division = await divide(mail, checkpoint.room, patience)
    try:
        async with asyncio.timeout(patience + _GRACE), asyncio.TaskGroup() as tasks:
            whole = tasks.create_task(_check_raw(mail, engines, checkpoint.proxy))
            views = tasks.create_task(_check_views(division, engines, checkpoint.proxy))
        raw = whole.result()
        checked = [
            _merge_views(document, row, raw, ambiguous=division.ambiguous)
            for document, row in zip(division.documents, views.result(), strict=True)
        ]
        return _Assessment(
            checked=checked,
            raw=raw,
            layout=find_layout(division),
            findings="; ".join(map(str, division.ambiguities)),
        )
    finally:
        division.close()


async def _change[G: MailProxy](
    checkpoint: Checkpoint[G],
    envelope: Envelope,
    mail: Body,
    outcome: MailOutcome,
    assessed: _Assessment,
    entry: str,
) -> MailOutcome:
    """The mail as it is to be delivered, checked again: what is still found in it takes more of it away, until nothing
    is left but a refusal."""
    templates = await asyncio.to_thread(read_templates, outcome.decision)
    texts = fill_texts(envelope, outcome, templates)
    for plan in _plan(checkpoint.proxy, mail, outcome, assessed.layout, texts, entry):
        form = await make_in_thread(partial(plan.lay_out, checkpoint.room))
        try:
            answer = await _check_form(checkpoint, envelope, form, outcome, plan) if plan.replaces else None
        except BaseException:
            form.close()
            raise
        if answer is None:
            return replace(outcome, form=form)
        form.close()
        if answer is Status.ERROR:
            return _defer(outcome, "the changed mail could not be checked")
    refused = replace(outcome.decision, action=Action.DENY, reason=Reason.VIRUS_FOUND, copy_to=(), reply=None)
    return replace(outcome, decision=refused, detail=f"{outcome.detail}; replacing documents does not clean it")


def _plan(
    proxy: MailProxy, mail: Body, outcome: MailOutcome, layout: Layout, texts: Sequence[str], entry: str
) -> Iterator[Plan]:
    """Stored mails keep their lengths, whatever is replaced in them."""
    if not isinstance(proxy, SmtpProxy):
        return plan_masks(mail, outcome.decision, layout, texts)
    fields = {"Virus-Status": str(outcome.decision.status), "Virus-Name": outcome.virus or "-"}
    if outcome.decision.quarantine:
        fields["Quarantine-Id"] = entry
    return plan_rewrites(mail, outcome.decision, layout, texts, fields)


async def _check_form[G: MailProxy](
    checkpoint: Checkpoint[G], envelope: Envelope, form: Body, outcome: MailOutcome, plan: Plan
) -> Status | None:
    """What stands against the changed mail, or None. `found` may stay where the policy accepts it by name; `skipped`
    and `unknown` count where no document had them before. Where all of a body is our text, it is the same text for
    whoever reads it by a header that says two things."""
    again = await _assess(checkpoint, envelope, form)
    facts = _describe(envelope, form, again.checked, again.raw)
    statuses = {document.status for document in facts.documents} | ({facts.status} if facts.status else set())
    before = {entry.status for entry in outcome.documents}
    if plan.whole:  # a header that may be content was not covered, whatever the mail was before
        before = before - {Status.UNKNOWN} if again.layout.blurred else before | {Status.UNKNOWN}
    allowed = {entry.status for entry in outcome.documents if entry.action == Action.ACCEPT}
    if Status.ERROR in statuses - allowed:
        return Status.ERROR
    if Status.FOUND in statuses - allowed:
        return Status.FOUND
    return next((s for s in (Status.UNKNOWN, Status.SKIPPED) if s in statuses - before), None)


def _judge_unchecked(proxy: MailProxy, envelope: Envelope, mail: Body, why: str) -> MailOutcome:
    """The decision on a mail of status `error`: nobody could look into it."""
    whole = _Checked(Status.ERROR, (), "", "message/rfc822", None, mail.size, b"")
    facts = _describe(envelope, mail, [whole], None)
    decision = decide_mail(proxy, facts)
    documents = _list_documents([whole], facts, decision)
    outcome = MailOutcome(decision=decision, documents=documents, detail=why)
    if decision.passes and (decision.prefix_subject is not None or replaces(decision)):
        return _defer(outcome, "it cannot be changed")
    return outcome


async def _check_raw(mail: Body, engines: Sequence[Antivirus], proxy: MailProxy) -> _Checked:
    status, reports = await check_document(engines, mail, proxy.merge)
    return _Checked(status, reports, "", "message/rfc822", None, mail.size, b"")


type _Answers = list[tuple[Status, tuple[ScanReport, ...]]]


async def _check_views(division: Mail, engines: Sequence[Antivirus], proxy: MailProxy) -> list[_Answers]:
    """Every document under every view, a few at a time; cancellation ends the checks under way."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def check(body: Body) -> tuple[Status, tuple[ScanReport, ...]]:
        async with slots:
            return await check_document(engines, body, proxy.merge)

    async with asyncio.TaskGroup() as tasks:
        checks = [[tasks.create_task(check(view.body)) for view in document.views] for document in division.documents]
    return [[task.result() for task in row] for row in checks]


def _merge_views(
    document: Document, views: Sequence[tuple[Status, tuple[ScanReport, ...]]], raw: _Checked, *, ambiguous: bool
) -> _Checked:
    """One status from all the views. An ambiguous mail is never better than `unknown`, and the raw mail is one of
    its views."""
    statuses = [status for status, _ in views]
    if ambiguous:
        statuses = [s for s in (*statuses, raw.status) if s in (Status.FOUND, Status.ERROR)] + [Status.UNKNOWN]
    content = document.content
    return _Checked(
        status=merge_documents(statuses),
        reports=tuple(report for _, reports in views for report in reports),
        part=document.part,
        content_type=document.content_type,
        filename=document.filename,
        size=document.size,
        head=content.read(0, 4096) if content is not None else b"",
    )


def _describe(envelope: Envelope, mail: Body, checked: Sequence[_Checked], raw: _Checked | None) -> MailFacts:
    """The facts for the policy. A virus that only the raw mail shows is in every document, for all we know."""
    statuses = [c.status for c in checked]
    everywhere = raw is not None and raw.status is Status.FOUND and Status.FOUND not in statuses
    hidden = raw.virus if everywhere and raw is not None else None
    documents = tuple(
        DocumentFacts(
            status=Status.FOUND if everywhere else c.status,
            virus=hidden or c.virus,
            content_type=c.content_type,
            filename=c.filename,
            size=c.size,
            head=c.head,
        )
        for c in checked
    )
    return MailFacts(
        client=envelope.client,
        user=envelope.user,
        server=envelope.server,
        at=envelope.at,
        direction=envelope.direction,
        sender=envelope.sender,
        recipients=envelope.recipients,
        size=mail.size,
        status=_raw_status(raw, statuses),
        virus=raw.virus if raw is not None else None,
        documents=documents,
    )


def _raw_status(raw: _Checked | None, statuses: Sequence[Status]) -> Status | None:
    """The raw mail's part in the merge: `skipped` by its size says nothing where every document is free."""
    if raw is None or (raw.status is Status.SKIPPED and statuses and set(statuses) == {Status.FREE}):
        return None
    return raw.status


def _merge_reports(checked: Sequence[_Checked], raw: _Checked | None) -> tuple[ScanReport, ...]:
    """The raw mail's reports, then those of documents that say more than `free`; at least one document's."""
    reports = [*(raw.reports if raw else ())]
    for c in checked:
        reports += [r for r in c.reports if r.status is not Status.FREE]
    return tuple(reports[:64]) or (checked[0].reports if checked else ())


def _list_documents(checked: Sequence[_Checked], facts: MailFacts, decision: MailDecision) -> tuple[DocumentEntry, ...]:
    actions: list[str | None] = [str(d.action) for d in decision.documents] or [None] * len(checked)
    return tuple(
        DocumentEntry(
            part=c.part,
            filename=c.filename,
            content_type=c.content_type,
            size=c.size,
            status=fact.status,
            virus=fact.virus,
            action=action,
        )
        for c, fact, action in zip(checked, facts.documents, actions, strict=True)
    )


async def _keep[G: MailProxy](
    checkpoint: Checkpoint[G], envelope: Envelope, mail: Body, outcome: MailOutcome, kept: str | None
) -> MailOutcome:
    if kept is not None:
        return replace(outcome, quarantine=kept)
    if checkpoint.quarantine is None:
        return _defer(outcome, "there is no quarantine")
    try:
        await checkpoint.quarantine.keep(envelope.id, mail, make_metadata(checkpoint.name, envelope, mail, outcome))
    except QuarantineError as error:
        logger.error("mail %s could not be kept in the quarantine: %s", envelope.id, error)
        return _defer(outcome, "it could not be kept in the quarantine")
    return replace(outcome, quarantine=envelope.id)


def _defer(outcome: MailOutcome, why: str) -> MailOutcome:
    """We could not do what the policy says (local fault, temporary): the client tries again."""
    outcome.close()
    decision = replace(
        outcome.decision, action=Action.DEFER, reason=Reason.ANTIVIRUS_ERROR, copy_to=(), reply=None, quarantine=False
    )
    return replace(
        outcome, decision=decision, form=None, detail="; ".join(word for word in (outcome.detail, why) if word)
    )
