"""Running scripted cases against a policy, and what they reached.

Rules of this file: pure; a case that fails says what came out, and the way to it; an ACL counts as reached
when it matched in any case, failed ones too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from policy.ask import decide
from policy.cases import Case, Expected, ObjectCase
from policy.decide import choose_command, choose_doc_acl, decide_session
from policy.decision import Action, Choice, Decision, MailDecision, Step
from policy.facts import ObjectFacts
from policy.model import DocAcl, FtpProxy, ObjectProxy, Policy
from policy.verdict import ScanReport, Status, merge_engines

type Reached = tuple[str, str, str]
"""A gateway's label, a layer (`doc-acl`), an ACL's name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. `complaints` is empty where all was as expected."""

    case: Case
    complaints: tuple[str, ...]
    trace: tuple[Step, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.complaints

    @property
    def reached(self) -> frozenset[Reached]:
        """The ACLs that matched."""
        return frozenset((self.case.proxy, step.layer, step.acl) for step in self.trace if step.matched)


def try_case(policy: Policy, case: Case) -> Outcome:
    """Judges one case. LookupError where the policy has no such gateway."""
    if case.command is not None:
        return _try_command(policy, case)
    decision, action = _judge(policy, case)
    return Outcome(case, tuple(_compare(case.expect, decision, action)), whole_trace(decision))


def _judge(policy: Policy, case: Case) -> tuple[Decision, str]:
    if case.session is not None:
        decision = decide_session(policy.find_gateway(case.proxy), case.session.facts())
        return decision, "permit" if decision.passes else "deny"
    if case.mail is not None:
        decision = decide(policy, case.proxy, case.mail.facts())
    else:
        subject = case.document or ObjectCase()
        facts = subject.facts()
        status = subject.virus_status or imagine_status(policy, case.proxy, facts)
        decision = decide(policy, case.proxy, facts, status)
    return decision, decision.action


def imagine_status(policy: Policy, proxy: str, facts: ObjectFacts) -> Status:
    """What healthy engines would say of clean data of that size: `free`, or `skipped` beyond their sizes."""
    gateway = policy.find_gateway(proxy)
    choice: Choice[DocAcl] | None = choose_doc_acl(gateway, facts) if isinstance(gateway, ObjectProxy) else None
    names = choice.acl.antivirus if choice and choice.acl else None
    sections = [(name, policy.antivirus[name]) for name in names or ()]
    reports = [
        ScanReport(antivirus=name, protocol=s.protocol, status=_by_size(s.max_checked_size, facts.size))
        for name, s in sections
    ]
    return merge_engines(reports, gateway.merge) if reports else Status.FREE


def _by_size(limit: int, size: int | None) -> Status:
    return Status.SKIPPED if size is not None and size > limit else Status.FREE


def whole_trace(decision: Decision) -> tuple[Step, ...]:
    """Every step, those of a mail's documents included, each once."""
    documents = decision.documents if isinstance(decision, MailDecision) else ()
    return tuple(dict.fromkeys((*decision.trace, *(step for d in documents for step in d.trace))))


def _try_command(policy: Policy, case: Case) -> Outcome:
    gateway, command = policy.find_gateway(case.proxy), case.command
    if not isinstance(gateway, FtpProxy) or command is None:
        raise LookupError(f"{case.proxy} judges no commands")
    choice = choose_command(gateway, command.command, command.facts())
    acl = choice.acl if choice else None
    action = acl.action if acl else "deny" if choice else "permit"
    decision = Decision(action=Action.DENY, acl=acl.name if acl else None)
    return Outcome(case, tuple(_compare(case.expect, decision, action)), choice.trace if choice else ())


def _compare(expect: Expected, decision: Decision, action: str) -> Iterator[str]:
    got: dict[str, object] = {
        "acl": decision.acl or "none",
        "action": action,
        "reason": decision.reason or "none",
        "quarantine": decision.quarantine,
    }
    mail = decision if isinstance(decision, MailDecision) else None
    got["virus_status"] = mail.status if mail else None
    got["copy_to"] = mail.copy_to if mail else None
    got["prefix_subject"] = mail.prefix_subject if mail else None
    got["reply"] = mail.reply if mail else None
    for key in sorted(expect.model_fields_set - {"documents"}):
        if got[key] != getattr(expect, key):
            yield f"{key.replace('_', '-')} is {_say(got[key])}, not {_say(getattr(expect, key))}"
    if expect.documents is not None:
        yield from _compare_documents(expect, mail)


def _say(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "nobody"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_documents(expect: Expected, mail: MailDecision | None) -> Iterator[str]:
    wanted, got = expect.documents or (), mail.documents if mail else ()
    if len(wanted) != len(got):
        yield f"{len(got)} documents were judged, not {len(wanted)}"
        return
    for n, (want, have) in enumerate(zip(wanted, got, strict=True)):
        if want.acl is not None and want.acl != (have.acl or "none"):
            yield f"documents[{n}].acl is {have.acl or 'none'}, not {want.acl}"
        if want.action is not None and want.action != have.action:
            yield f"documents[{n}].action is {have.action}, not {want.action}"


def list_acls(policy: Policy) -> Iterator[Reached]:
    """Every ACL of the policy, in the order of the gateways."""
    for label, gateway in policy.gateways():
        for layer in ("session-acl", "command-acl", "mail-acl", "doc-acl"):
            for acl in getattr(gateway, layer.replace("-", "_"), None) or ():
                yield label, layer, acl.name


def find_unreached(policy: Policy, outcomes: Iterable[Outcome]) -> list[Reached]:
    """The ACLs that matched in no case."""
    reached: set[Reached] = set()
    for outcome in outcomes:
        reached |= outcome.reached
    return [acl for acl in list_acls(policy) if acl not in reached]
