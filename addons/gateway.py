"""One http-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; what it opened it closes once its
last transfer has ended; it classifies bodies and explains what became of them, the stream layer moves them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from inspection.quarantine import Quarantine
from mitmproxy import http

from addons.block_page import Refusal, render
from addons.codings import Coding, CodingError, plan
from addons.description import announced_length, describe_download, describe_upload
from addons.exchange import Clearance
from addons.receiver import Receiver
from addons.record import make_record, mark, mark_flow
from addons.steps import Step
from addons.transfer import Transfer, Way
from inspection.audit import AuditLog, new_id
from inspection.inspect_object import Inspection, Inspector, Subject
from inspection.spool import SpoolRoom
from policy.decision import Choice, Reason
from policy.facts import ObjectFacts
from policy.model import DocAcl, HttpProxy, Policy
from policy.verdict import Status
from scanners.registry import open_antivirus

logger = logging.getLogger(__name__)

Receivers = Callable[[http.HTTPFlow, bool], Receiver]

_PLAIN = Coding((), passthrough=True)


class HttpGateway:
    """`receivers` finds the peer that a flow's body goes to (the second argument: True for an upload)."""

    def __init__(
        self, policy: Policy, name: str, proxy: HttpProxy, *, audit: AuditLog, receivers: Receivers
    ) -> None:
        self.name = f"http-proxy.{name}"
        self.proxy = proxy
        self.policy = policy
        self._audit = audit
        self._receivers = receivers
        self._transfers: set[Transfer] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        spool = policy.spool
        self._room = SpoolRoom(
            spool.directory, memory=spool.memory, max_object=spool.max_object, max_total=spool.max_total
        )
        names = {name for acl in proxy.doc_acl for name in acl.antivirus or ()}
        self._antiviruses = open_antivirus(policy, sorted(names))
        self._quarantine = _open_quarantine(policy, proxy)
        self._inspector = Inspector(self.name, proxy, self._antiviruses, self._quarantine)

    async def open(self) -> None:
        """Prove the engines. Raises RealEngineMissing where the policy demands one that is not there."""
        async with asyncio.TaskGroup() as tasks:
            for antivirus in self._antiviruses.values():
                tasks.create_task(antivirus.start())

    async def close(self, patience: float = 30.0) -> None:
        """Let the transfers under way end, for `patience` seconds at the most, then let everything go."""
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            for transfer in list(self._transfers):
                transfer.close()
        for antivirus in self._antiviruses.values():
            await antivirus.close()

    @property
    def banners(self) -> list[str]:
        """What everybody must be told at the start."""
        return [a.banner for a in self._antiviruses.values() if a.banner]

    # --- classification

    def open_download(self, flow: http.HTTPFlow) -> Transfer | Clearance:
        """Classify a response whose body follows."""
        return self._open(flow, describe_download(flow), upload=False)

    def open_upload(self, flow: http.HTTPFlow) -> Transfer | Clearance:
        """Classify a request whose body follows."""
        return self._open(flow, describe_upload(flow), upload=True)

    def open_message(self, flow: http.HTTPFlow, content: bytes, *, from_client: bool) -> Transfer | Clearance:
        """Classify one message of a WebSocket, complete in memory."""
        described = describe_upload(flow) if from_client else describe_download(flow)
        facts = replace(described, content_type=None, filename=None, size=len(content))
        return self._open(flow, facts, upload=from_client, coding=_PLAIN, trickles=False)

    def _open(
        self,
        flow: http.HTTPFlow,
        facts: ObjectFacts,
        *,
        upload: bool,
        coding: Coding | None = None,
        trickles: bool = True,
    ) -> Transfer | Clearance:
        subject = Subject(id=new_id(), session=flow.client_conn.id[:8], facts=facts)
        choice = self._inspector.choose(facts)
        message = flow.request if upload else flow.response
        headers = message.headers if message else http.Headers()
        if self._passes_unchecked(choice):
            self._record_unchecked(flow, subject, choice)
            return Clearance.UNCHECKED
        fault = self._unasked_piece(flow, choice) if not upload and coding is None else None
        if coding is None:
            coding, unreadable = self._plan(headers, choice)
            fault = fault or unreadable
        transfer = Transfer(
            subject,
            choice,
            self._way(flow, upload=upload),
            coding=coding,
            length=announced_length(headers) if trickles else None,
            upload=upload or not trickles,
            fault=fault,
        )
        self._transfers.add(transfer)
        self._idle.clear()
        return transfer

    def _passes_unchecked(self, choice: Choice[DocAcl]) -> bool:
        acl = choice.acl
        return acl is not None and not choice.waits_for_head and acl.action == "accept" and not acl.antivirus

    def _plan(self, headers: http.Headers, choice: Choice[DocAcl]) -> tuple[Coding, Inspection | None]:
        if "content-encoding" not in headers:
            return _PLAIN, None
        try:
            return plan(headers.get_all("content-encoding")), None
        except CodingError as error:
            return _PLAIN, self._inspector.judge(choice, Status.UNKNOWN, str(error))

    def _unasked_piece(self, flow: http.HTTPFlow, choice: Choice[DocAcl]) -> Inspection | None:
        """Pieces are never asked for, so a piece of an object is not what was asked for."""
        if flow.response is None or flow.response.status_code != 206:
            return None
        return self._inspector.judge(choice, Status.UNKNOWN, "a piece (206) that was not asked for")

    def _way(self, flow: http.HTTPFlow, *, upload: bool) -> Way:
        return Way(
            inspector=self._inspector,
            room=self._room,
            stall=self.proxy.limits.stall,
            page=lambda transfer: make_page(flow, transfer),
            receiver=lambda: self._receivers(flow, upload),
            settled=lambda transfer: mark_flow(flow, transfer),
            ended=lambda transfer, step: self._ended(flow, transfer, step),
        )

    # --- records

    def _ended(self, flow: http.HTTPFlow, transfer: Transfer, step: Step) -> None:
        self._transfers.discard(transfer)
        if not self._transfers:
            self._idle.set()
        if transfer.inspection is None:  # closed by us in the middle, at a shutdown
            return
        mark_flow(flow, transfer)
        self._audit.write(
            make_record(self.name, transfer.subject, transfer.inspection, transfer=transfer, step=step)
        )

    def _record_unchecked(self, flow: http.HTTPFlow, subject: Subject, choice: Choice[DocAcl]) -> None:
        inspection = self._inspector.judge(choice, None, "passed unchecked by the policy")
        mark(flow, subject, inspection)
        self._audit.write(make_record(self.name, subject, inspection))


def _open_quarantine(policy: Policy, proxy: HttpProxy) -> Quarantine | None:
    section = proxy.quarantine if proxy.quarantine is not None else policy.quarantine
    if section.directory is None or not any(acl.quarantine for acl in proxy.doc_acl):
        return None
    return Quarantine(
        section.directory, max_age=section.max_age, max_size=section.max_size, on_full=section.on_full
    )


def make_page(flow: http.HTTPFlow, transfer: Transfer) -> http.Response:
    """The page that a refused client gets instead of the object."""
    inspection = transfer.inspection
    if inspection is None:
        raise ValueError("there is no page before the verdict")
    refusal = Refusal(
        status=str(inspection.status or "refused"),
        virus=inspection.virus,
        antivirus=", ".join(report.antivirus for report in inspection.reports),
        acl=inspection.decision.acl,
        reason=str(inspection.decision.reason or ""),
        id=transfer.subject.id,
        url=transfer.subject.facts.url or "",
        time=datetime.now(UTC),
    )
    content_type, content = render(refusal, flow.request.headers.get("accept", ""))
    headers = {
        "content-type": content_type,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        "x-sluice-status": str(inspection.status or "refused"),
        "x-sluice-id": transfer.subject.id,
    }
    reason = inspection.decision.reason
    code = _STATUS_CODES.get(reason, 403) if reason else 403
    if code == 503:
        headers["retry-after"] = "30"
    return http.Response.make(code, content, headers)


# 403 for what was judged; 503 where trying again may help; 502 where the origin is at fault (RFC 9110 15.6).
_STATUS_CODES = {
    Reason.ANTIVIRUS_ERROR: 503,
    Reason.UPSTREAM: 502,
    Reason.PROTOCOL: 502,
}
