"""The walk of one object: the ACL, the engines that it names, their merged status, the decision.

Rules of this file: it never raises but for cancellation; what goes wrong on our side is `error`; the body is
complete when the engines see it; the caller carries the decision out and has it recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inspection.quarantine import Quarantine, QuarantineError
from policy.decide import choose_doc_acl, decide_document
from policy.decision import Action, Choice, Decision, Reason
from policy.facts import ObjectFacts
from policy.model import DocAcl, FtpProxy, HttpProxy
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.engine import Body
from scanners.panel import check_document

logger = logging.getLogger(__name__)

# Kept are objects that were judged as what they are; an `error` says nothing of the object.
_KEPT = frozenset({Status.FOUND, Status.SKIPPED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One object on its way: the id that every trace of it carries, and what the policy may ask of it."""

    id: str
    session: str
    facts: ObjectFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What came out. `status` None means that no engine was asked; `detail` is for people."""

    status: Status | None
    decision: Decision
    reports: tuple[ScanReport, ...] = ()
    detail: str = ""
    quarantine: str | None = None

    @property
    def virus(self) -> str | None:
        """The first virus that an engine named."""
        return next((r.virus for r in self.reports if r.virus), None)


class Inspector:
    """Inspects the objects of one HTTP or FTP gateway with the engines of its policy."""

    def __init__(
        self,
        name: str,
        proxy: HttpProxy | FtpProxy,
        antiviruses: Mapping[str, Antivirus],
        quarantine: Quarantine | None = None,
    ) -> None:
        self.name = name
        self._proxy = proxy
        self._antiviruses = antiviruses
        self._quarantine = quarantine

    def choose(self, facts: ObjectFacts) -> Choice[DocAcl]:
        """The doc-acl of an object, from names and headers (and its head, where a `magic` asks for it)."""
        return choose_doc_acl(self._proxy, facts)

    def engines(self, choice: Choice[DocAcl]) -> tuple[Antivirus, ...]:
        """The engines that the chosen ACL names; none where its answer does not depend on them."""
        names = choice.acl.antivirus if choice.acl and choice.acl.action == "accept" else None
        return tuple(self._antiviruses[name] for name in names or ())

    def skips(self, choice: Choice[DocAcl], size: int) -> bool:
        """True where every engine of the ACL would skip an object of `size` bytes."""
        engines = self.engines(choice)
        return bool(engines) and all(engine.skips(size) for engine in engines)

    def judge(self, choice: Choice[DocAcl], status: Status | None, detail: str = "") -> Inspection:
        """The decision on a status that no engine was needed for."""
        return Inspection(status=status, decision=decide_document(choice, status), detail=detail)

    def stop(self, choice: Choice[DocAcl], status: Status | None, reason: Reason, why: str) -> Inspection:
        """The decision where something outside the policy stopped the object: a peer, the disk, a protocol."""
        decision = Decision(
            action=Action.DENY,
            reason=reason,
            acl=choice.acl.name if choice.acl else None,
            trace=choice.trace,
        )
        return Inspection(status=status, decision=decision, detail=why)

    async def inspect(self, subject: Subject, choice: Choice[DocAcl], body: Body) -> Inspection:
        """Have the engines scan the complete body, then decide."""
        try:
            status, reports = await check_document(self.engines(choice), body, self._proxy.merge)
        except Exception as error:
            logger.exception("the check of %s failed", subject.id)
            return self.judge(choice, Status.ERROR, f"the check failed: {error!r}")
        inspection = Inspection(
            status=status,
            decision=decide_document(choice, status),
            reports=reports,
            detail="; ".join(f"{r.antivirus}: {r.detail}" for r in reports if r.detail),
        )
        if inspection.decision.quarantine and status in _KEPT:
            return await self._keep(subject, inspection, body)
        return inspection

    async def _keep(self, subject: Subject, inspection: Inspection, body: Body) -> Inspection:
        if self._quarantine is None:
            return inspection
        facts, acl = subject.facts, inspection.decision.acl
        metadata = {
            "event": "object",
            "proxy": self.name,
            "session": subject.session,
            "client": facts.client,
            "server": facts.server,
            "user": facts.user,
            "direction": facts.direction,
            "object": facts.url,
            "filename": facts.filename,
            "content_type": facts.content_type,
            "status": str(inspection.status),
            "virus": inspection.virus,
            "acl": acl,
            "tag": f"ACL3D:{acl}",
        }
        try:
            await self._quarantine.keep(subject.id, body, metadata)
        except QuarantineError as error:
            logger.error("%s could not be kept in the quarantine: %s", subject.id, error)
            return inspection
        return replace(inspection, quarantine=subject.id)
