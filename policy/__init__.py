"""What should happen: the policy file's model, its loader, and the pure decisions.

`policy.load(path)` reads a policy file; `policy.decide(policy, proxy, facts, status)` asks it.
"""

from policy.ask import decide
from policy.decide import choose_doc_acl, decide_document
from policy.decide_mail import decide_mail
from policy.decision import Action, Decision, MailDecision, Reason, Step
from policy.facts import DocumentFacts, MailFacts, ObjectFacts
from policy.load import PolicyError, Problem, default_policy_path, load
from policy.model import Policy

__all__ = [
    "Action",
    "Decision",
    "DocumentFacts",
    "MailDecision",
    "MailFacts",
    "ObjectFacts",
    "Policy",
    "PolicyError",
    "Problem",
    "Reason",
    "Step",
    "choose_doc_acl",
    "decide",
    "decide_document",
    "decide_mail",
    "default_policy_path",
    "load",
]
