"""Checking once more what mitmproxy kept of a flow, as the policy of now says.

Rules of this file: nothing is delivered, refused, recorded or quarantined by it: it says what would be; what was never
kept, and our own pages, are told apart from what can be scanned; codings are taken off within the spool's bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from mitmproxy import http

from addons.body.codings import CodingError, plan
from addons.body.examination import HEAD
from addons.body.intake import Intake
from addons.description import describe_download, describe_upload
from addons.gateway import HttpGateway
from inspection.record import visible
from inspection.spool import Spool
from policy.decide import decide_document
from policy.decision import Action
from policy.facts import ObjectFacts
from policy.verdict import ScanReport, merge_engines


@dataclass(frozen=True, slots=True)
class _Kept:
    """One body of a flow: its facts, its bytes as they were transferred (None: not kept) and its codings."""

    facts: ObjectFacts
    content: bytes | None
    codings: tuple[str, ...] = ()


async def rescan(gateway: HttpGateway, flow: http.HTTPFlow) -> AsyncIterator[str]:
    """One line for each body of the flow. Never raises but for cancellation."""
    for kept in _bodies(flow):
        way = kept.facts.direction
        if (why := _find_obstacle(flow, kept)) is not None:
            yield f"{way}: not scanned: {why}"
        elif kept.content:
            yield visible(f"{way}: {await _scan(gateway, kept)}")


def _bodies(flow: http.HTTPFlow) -> Iterator[_Kept]:
    if flow.request.raw_content != b"":
        yield _Kept(describe_upload(flow), flow.request.raw_content, _codings(flow.request))
    if flow.response is not None and flow.response.raw_content != b"":
        yield _Kept(describe_download(flow), flow.response.raw_content, _codings(flow.response))
    for message in flow.websocket.messages if flow.websocket else ():
        facts = describe_upload(flow) if message.from_client else describe_download(flow)
        yield _Kept(replace(facts, content_type=None, filename=None), message.content)


def _codings(message: http.Message) -> tuple[str, ...]:
    return tuple(message.headers.get_all("content-encoding"))


def _find_obstacle(flow: http.HTTPFlow, kept: _Kept) -> str | None:
    """Why a body cannot be scanned, or None."""
    account = flow.metadata.get(f"av.{kept.facts.direction}") or {}
    if account.get("action") not in (None, Action.ACCEPT):
        place = f"the quarantine has it as {account['quarantine']}" if account.get("quarantine") else "it was not kept"
        return f"it was refused, what the flow shows is not the object; {place}"
    refused = flow.metadata.get("av.action") not in (None, Action.ACCEPT)
    if refused and kept.facts.direction == "download" and not account:
        return "the upload was refused, what the flow shows is our page"
    if kept.content is None:
        return "it was streamed (above 1 MiB, or passed unchecked), mitmproxy keeps nothing of it"
    return None


async def _scan(gateway: HttpGateway, kept: _Kept) -> str:
    try:
        intake = Intake(gateway.room, plan(kept.codings), lambda size: None)
    except CodingError as error:
        return f"not scanned: {error}"
    try:
        intake.feed(kept.content or b"")
        intake.finish()
        if intake.coded:
            await intake.decode()
        return await _judge(gateway, kept.facts, intake.content)
    except (CodingError, OSError) as error:
        return f"not scanned: {error}"
    finally:
        intake.close()


async def _judge(gateway: HttpGateway, facts: ObjectFacts, body: Spool) -> str:
    """What the ACL of now and its engines say of a body."""
    choice = gateway.inspector.choose(replace(facts, size=body.size, head=body.read(0, HEAD)))
    engines = gateway.inspector.engines(choice)
    if not engines:
        decision = decide_document(choice, None)
        return f"no engine is asked; it would be {decision.action} by {decision.acl or 'no doc-acl'}"
    async with asyncio.TaskGroup() as tasks:
        checks = [tasks.create_task(engine.check(body, fresh=True)) for engine in engines]
    reports = [check.result() for check in checks]
    status = merge_engines(reports, gateway.proxy.merge)
    decision = decide_document(choice, status)
    said = "; ".join(_word(report) for report in reports)
    return f"{status}, {body.size} B; {said}; it would be {decision.action} by {decision.acl or 'no doc-acl'}"


def _word(report: ScanReport) -> str:
    words = [report.antivirus, str(report.status), report.virus or "", f"in {report.ms:.1f} ms", report.version]
    return " ".join(filter(None, words)) + (f" ({report.detail})" if report.detail else "")
