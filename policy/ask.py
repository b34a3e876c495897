"""One question for all five gateways: what happens to this object, or this mail?

Rules of this file: it only picks the walk that belongs to the gateway; scripts, tests and `avsluice explain`
ask here.
"""

from __future__ import annotations

from dataclasses import replace

from policy.decide import choose_command_acl, choose_doc_acl, decide_document
from policy.decide_mail import decide_mail
from policy.decision import Action, Decision, Reason, Step
from policy.facts import MailFacts, ObjectFacts
from policy.model import Imap4Proxy, MailProxy, ObjectProxy, Policy, Pop3Proxy, SmtpProxy
from policy.verdict import Status


def decide(policy: Policy, proxy: str, facts: ObjectFacts | MailFacts, status: Status | None = None) -> Decision:
    """The decision of the gateway `proxy` (`http-proxy.HTTP`), with its trace.

    HTTP and FTP take ObjectFacts and the status of the check; mail gateways take MailFacts.
    Raises LookupError where there is no such gateway, TypeError for facts of the other kind.
    """
    gateway = policy.find_gateway(proxy)
    if isinstance(gateway, ObjectProxy) and isinstance(facts, ObjectFacts):
        return decide_document(choose_doc_acl(gateway, facts), status)
    if isinstance(gateway, MailProxy) and isinstance(facts, MailFacts):
        return _decide_mail(gateway, facts)
    raise TypeError(f"{proxy} does not judge {type(facts).__name__}")


def _decide_mail(gateway: MailProxy, facts: MailFacts) -> Decision:
    """The mail's walk, after the command-acl that says whether it is scanned at all."""
    if isinstance(gateway, SmtpProxy):
        return _untouched(()) if gateway.no_mail_scanning else decide_mail(gateway, facts)
    if not isinstance(gateway, Pop3Proxy | Imap4Proxy):
        raise TypeError(f"{type(gateway).__name__} has no walk")
    choice = choose_command_acl(gateway, facts)
    if choice.acl is None:
        return Decision(action=Action.DENY, reason=Reason.NO_ACL, trace=choice.trace)
    if choice.acl.no_mail_scanning:
        return _untouched(choice.trace)
    decision = decide_mail(gateway, facts)
    return replace(decision, trace=(*choice.trace, *decision.trace))


def _untouched(trace: tuple[Step, ...]) -> Decision:
    """Knowingly unchecked: `no-mail-scanning: true`."""
    return Decision(action=Action.ACCEPT, acl=trace[-1].acl if trace else None, trace=trace)
