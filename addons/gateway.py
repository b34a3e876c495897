"""One http-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; what it opened it closes once its
last transfer has ended; it classifies bodies and explains what became of them, the stream layer moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from mitmproxy import http

from addons.body.codings import Coding, CodingError, plan
from addons.body.examination import Fault
from addons.body.ranges import Piece, Wanted, applies, ask_for, is_piece
from addons.body.steps import Step
from addons.body.transfer import WHOLE, Transfer, Way
from addons.description import announced_length, describe_download, describe_upload
from addons.desktop.account import make_account
from addons.desktop.desk import Desk, NoDesk
from addons.record import make_record, mark
from addons.refusal import make_page
from addons.wire.exchange import Clearance, Plan
from addons.wire.receiver import Receiver
from addons.wire.throttle import Throttle
from inspection.audit import AuditLog, new_id
from inspection.checkpoint import Checkpoint
from inspection.inspect_object import Inspection, Inspector, Subject
from policy.decide import decide_session
from policy.decision import Choice, Reason
from policy.facts import ObjectFacts
from policy.model import DocAcl, HttpProxy, Policy
from policy.verdict import Status

Receivers = Callable[[http.HTTPFlow, bool], Receiver]

_PLAIN = Coding((), passthrough=True)


class HttpGateway(Checkpoint[HttpProxy]):
    """`receivers` finds the peer that a flow's body goes to (the second argument: True for an upload);
    `template` is the block page, None for the shipped one."""

    def __init__(
        self,
        policy: Policy,
        name: str,
        proxy: HttpProxy,
        *,
        audit: AuditLog,
        receivers: Receivers,
        template: str | None = None,
        desk: Desk | None = None,
    ) -> None:
        super().__init__(policy, f"http-proxy.{name}", proxy, audit)
        self._receivers = receivers
        self._template = template
        self._desk = desk or NoDesk()
        self.inspector = Inspector(self.name, proxy, self.antiviruses, self.quarantine)

    # --- classification

    def open_download(self, flow: http.HTTPFlow, wanted: Wanted | None = None) -> Transfer | Clearance:
        """Classify a response whose body follows; `wanted` is the piece that the client asked for."""
        headers = flow.response.headers if flow.response else http.Headers()
        coding, fault = _plan(headers)
        fault = self._find_fault(flow) or fault
        if wanted is not None and not (flow.response and coding.passthrough and applies(wanted, flow.response)):
            wanted = None
        return self._open(flow, describe_download(flow), coding, fault, headers, upload=False, wanted=wanted)

    def open_piece(
        self, flow: http.HTTPFlow, piece: Piece, whole: http.Response, verdict: Inspection
    ) -> Transfer | Clearance:
        """Classify the answer to a request for a piece of what passes unchecked: `whole` announced it, `verdict` passed
        it. Any other answer is an object like any other."""
        if flow.response is None or not is_piece(flow.response, piece, whole):
            return self.open_download(flow)
        detail = f"bytes {piece.start}-{piece.stop - 1} of {piece.size}: {verdict.detail or 'passed unchecked'}"
        self._record(flow, self._subject(flow, describe_download(flow)), replace(verdict, detail=detail))
        return Clearance.UNCHECKED

    def open_upload(self, flow: http.HTTPFlow) -> Transfer | Clearance:
        """Classify a request whose body follows."""
        coding, fault = _plan(flow.request.headers)
        return self._open(flow, describe_upload(flow), coding, fault, flow.request.headers, upload=True)

    def open_message(self, flow: http.HTTPFlow, content: bytes, *, from_client: bool) -> Transfer | Clearance:
        """Classify one message of a WebSocket, complete in memory."""
        described = describe_upload(flow) if from_client else describe_download(flow)
        facts = replace(described, content_type=None, filename=None, size=len(content))
        return self._open(flow, facts, _PLAIN, None, http.Headers(), upload=from_client)

    def _open(
        self,
        flow: http.HTTPFlow,
        facts: ObjectFacts,
        coding: Coding,
        fault: Fault | None,
        headers: http.Headers,
        *,
        upload: bool,
        wanted: Wanted | None = None,
    ) -> Transfer | Clearance:
        subject = self._subject(flow, facts)
        choice = self.inspector.choose(facts)
        if _passes_unchecked(choice):
            self._record_unchecked(flow, subject, choice)
            return Clearance.UNCHECKED
        transfer = Transfer(
            subject,
            choice,
            self._way(flow, upload=upload),
            coding=coding,
            length=announced_length(headers),
            upload=upload,
            fault=fault,
            wanted=wanted,
        )
        self.enter(transfer)
        return transfer

    def _subject(self, flow: http.HTTPFlow, facts: ObjectFacts) -> Subject:
        return Subject(id=new_id(), session=flow.client_conn.id[:8], facts=facts)

    def _find_fault(self, flow: http.HTTPFlow) -> Fault | None:
        """What is known of a download before its first byte: it was cut before, or is not what was asked for."""
        if (refused := self.blocked.recall(_version(flow))) is not None:
            word = f"{refused.status} {refused.virus or ''}".rstrip()
            return refused.status, f"{word}, as in {refused.id}: it was cut before"
        if flow.response is not None and flow.response.status_code == 206:
            return Status.UNKNOWN, "a piece (206) that was not asked for"
        return None

    def _ask_for(self, flow: http.HTTPFlow, transfer: Transfer, piece: Piece) -> Plan:
        """Make the request one for a piece of what the response brings; the plan is for the answer. Without a verdict
        that passes the whole no piece of it does."""
        whole, verdict = flow.response or http.Response.make(), transfer.inspection
        ask_for(flow.request, whole, piece)
        if verdict is None or not verdict.decision.passes:
            return partial(self.open_download, flow)
        return partial(self.open_piece, flow, piece, whole, verdict)

    def _way(self, flow: http.HTTPFlow, *, upload: bool) -> Way:
        return Way(
            inspector=self.inspector,
            room=self.room,
            stall=self.proxy.limits.stall,
            page=lambda transfer: self.page(flow, transfer),
            receiver=lambda: self._receivers(flow, upload),
            settled=lambda transfer: self._mark(flow, transfer),
            ended=lambda transfer, step: self._ended(flow, transfer, step),
            fetch=partial(self._ask_for, flow) if _can_ask_again(flow) else None,
        )

    def make_throttle(self, flow: http.HTTPFlow, upload: bool) -> Throttle:
        """What holds the sender back where a body streams past unchecked."""
        sender, receiver = self._receivers(flow, not upload), self._receivers(flow, upload)
        return Throttle(sender, receiver, self.proxy.limits.stall)

    def page(self, flow: http.HTTPFlow, transfer: Transfer) -> http.Response:
        """What the client gets instead of a body that does not pass."""
        return self._page(flow, transfer.subject, transfer.inspection)

    def _page(self, flow: http.HTTPFlow, subject: Subject, inspection: Inspection | None) -> http.Response:
        return make_page(flow, subject, inspection, self._template, why=self._desk.link(flow, subject.id))

    def refuse_target(self, flow: http.HTTPFlow, why: str) -> http.Response:
        """Record a request whose target nobody may reach; the answer is what the client gets."""
        subject = self._subject(flow, describe_download(flow))
        inspection = self.inspector.stop(Choice(None, ()), None, Reason.ACL, why)
        self._record(flow, subject, inspection)
        return self._page(flow, subject, inspection)

    def refuse_session(self, client: str, session: str) -> str | None:
        """Why the session-acl refuses a client, who is recorded then; None where it may come in."""
        facts = ObjectFacts(client=client, at=datetime.now().astimezone())
        decision = decide_session(self.proxy, facts)
        if decision.passes:
            return None
        why = f"session-acl {decision.acl}" if decision.acl else "no session-acl matches"
        subject = Subject(id=new_id(), session=session, facts=facts)
        self._record(None, subject, Inspection(status=None, decision=decision, detail=why))
        return why

    # --- records

    def _ended(self, flow: http.HTTPFlow, transfer: Transfer, step: Step) -> None:
        self.leave(transfer)
        if transfer.inspection is None:
            return
        self.blocked.notice_versions(transfer.inspection.reports)
        if self.metrics is not None and transfer.first_left is not None:
            self.metrics.observe_first_byte(self.name, transfer.first_left)
        if transfer.sent and not transfer.upload:
            self.blocked.remember(_version(flow), transfer.subject.id, transfer.inspection)
        self._record(flow, transfer.subject, transfer.inspection, transfer, step)

    def _record_unchecked(self, flow: http.HTTPFlow, subject: Subject, choice: Choice[DocAcl]) -> None:
        inspection = self.inspector.judge(choice, None, "passed unchecked by the policy")
        self._record(flow, subject, inspection)

    def _mark(self, flow: http.HTTPFlow, transfer: Transfer) -> None:
        """The verdict is known, and the flow tells it while the body is still on its way; a small one ends at once."""
        on_its_way = transfer.sent or not transfer.intake.complete or transfer.intake.raw.size > WHOLE
        if (inspection := transfer.inspection) is not None and on_its_way:
            record = make_record(self.name, transfer.subject, inspection, transfer=transfer)
            mark(flow, make_account(record, inspection, transfer.intake.raw.size))

    def _record(
        self,
        flow: http.HTTPFlow | None,
        subject: Subject,
        inspection: Inspection,
        transfer: Transfer | None = None,
        step: Step | None = None,
    ) -> None:
        """All traces of an object that is done with: the audit record, the flow's marks, the last decisions."""
        record = make_record(self.name, subject, inspection, transfer=transfer, step=step)
        self.audit.write(record)
        account = make_account(record, inspection, transfer.intake.raw.size if transfer else None)
        self._desk.note(account)
        if flow is not None:
            mark(flow, account)


def _can_ask_again(flow: http.HTTPFlow) -> bool:
    """True for a request without a body, over TCP (our way to end HTTP/3's first answer was never tried)."""
    return flow.request.raw_content == b"" and flow.server_conn.transport_protocol == "tcp"


def _passes_unchecked(choice: Choice[DocAcl]) -> bool:
    acl = choice.acl
    return acl is not None and not choice.waits_for_head and acl.action == "accept" and not acl.antivirus


def _plan(headers: http.Headers) -> tuple[Coding, Fault | None]:
    """How the body is coded; what has no meaning that all readers share is `unknown`."""
    if headers.get("transfer-encoding", "chunked").strip().lower() not in ("chunked", "identity"):
        return _PLAIN, (Status.UNKNOWN, "a transfer-coding besides chunked")
    if "content-encoding" not in headers:
        return _PLAIN, None
    try:
        return plan(headers.get_all("content-encoding")), None
    except CodingError as error:
        return _PLAIN, (Status.UNKNOWN, str(error))


def _version(flow: http.HTTPFlow) -> tuple[str | None, ...]:
    """What names one version of what a download brings."""
    headers = flow.response.headers if flow.response else http.Headers()
    return flow.request.method, flow.request.url, headers.get("etag"), headers.get("last-modified")
