"""One ftp-proxy of one loaded policy, at work.

Rules of this file: it belongs to one policy for life, a reload makes a new one; it decides and records, transfers move
the bytes.
"""

from __future__ import annotations

from ftpgw.tls import open_server_context
from inspection.audit import AuditLog
from inspection.checkpoint import Checkpoint
from inspection.inspect_object import Inspection, Inspector, Subject
from inspection.object_record import make_object_record
from inspection.record import new_id
from policy.decide import choose_command, decide_session
from policy.facts import ObjectFacts, SessionFacts
from policy.model import FtpProxy, Policy


class FtpGateway(Checkpoint[FtpProxy]):
    """`name` is the proxy's in the policy. Raises OSError where a CA file is of no use."""

    def __init__(self, policy: Policy, name: str, proxy: FtpProxy, audit: AuditLog) -> None:
        self.server_context = open_server_context(proxy.server_tls)
        super().__init__(policy, f"ftp-proxy.{name}", proxy, audit)
        self.inspector = Inspector(self.name, proxy, self.antiviruses, self.quarantine)

    def refuse_session(self, facts: SessionFacts, session: str) -> str | None:
        """Why the session-acl refuses a client, who is recorded then; None where it may come in."""
        decision = decide_session(self.proxy, facts)
        if decision.passes:
            return None
        why = f"session-acl {decision.acl}" if decision.acl else "no session-acl matches"
        known = ObjectFacts(client=facts.client, user=facts.user, server=facts.server, at=facts.at)
        subject = Subject(id=new_id(), session=session, facts=known)
        self.audit.write(make_object_record(self.name, subject, Inspection(status=None, decision=decision)))
        return why

    @property
    def waits_for_server(self) -> bool:
        """True where the session-acl asks for a server, which USER will tell."""
        return any(acl.when.server for acl in self.proxy.session_acl or ())

    def judge_command(self, verb: str, facts: SessionFacts) -> tuple[str, str | None]:
        """permit, deny or abort; and the command-acl that says so."""
        choice = choose_command(self.proxy, verb, facts)
        if choice is None:
            return "permit", None
        return (choice.acl.action, choice.acl.name) if choice.acl else ("deny", None)
