"""One question for all five gateways."""

from __future__ import annotations

import pytest

import policy
from policy.decision import Action, MailDecision, Reason
from policy.facts import DocumentFacts, MailFacts, ObjectFacts
from policy.verdict import Status
from tests.policy.policies import make_policy

OK = [{"name": "OK", "action": "accept"}]
MAIL = {"listen": "127.0.0.1:0", "server": "127.0.0.1:25"}
COMMANDS = [
    {"name": "BOSS", "when": {"user": "boss"}, "no-mail-scanning": True},
    {"name": "STAFF", "when": {"user": "*"}, "use-antivirus": ["A"]},
]
POLICY = make_policy(
    http_proxy={"H": {"doc-acl": [{"name": "D", "antivirus": ["A"]}]}},
    smtp_proxy={
        "RELAY": {**MAIL, "no-mail-scanning": True},
        "S": {**MAIL, "use-antivirus": ["A"], "mail-acl": OK, "doc-acl": OK},
    },
    pop3_proxy={"P": {**MAIL, "command-acl": COMMANDS, "mail-acl": OK, "doc-acl": OK}},
)
CLEAN = DocumentFacts(status=Status.FREE)


def test_an_object_is_judged_by_its_status():
    """HTTP takes the facts and the status of the check."""
    assert policy.decide(POLICY, "http-proxy.H", ObjectFacts(), Status.FREE).action is Action.ACCEPT
    assert policy.decide(POLICY, "http-proxy.H", ObjectFacts(), Status.FOUND).reason is Reason.VIRUS_FOUND


def test_a_mail_is_judged_by_its_documents():
    """Mail gateways find the statuses in the facts."""
    decision = policy.decide(POLICY, "smtp-proxy.S", MailFacts(documents=(CLEAN,)))
    assert isinstance(decision, MailDecision)
    assert decision.action is Action.ACCEPT


def test_no_mail_scanning_passes_untouched():
    """A relay delivers a virus, knowingly: that is what it was told."""
    infected = MailFacts(user="boss", documents=(DocumentFacts(status=Status.FOUND),))
    assert policy.decide(POLICY, "smtp-proxy.RELAY", infected).action is Action.ACCEPT
    decision = policy.decide(POLICY, "pop3-proxy.P", infected)
    assert (decision.action, decision.acl) == (Action.ACCEPT, "BOSS")


def test_the_command_acl_comes_first_in_the_trace():
    """A mailbox's mail is judged after its session's command-acl, and refused where none matches."""
    decision = policy.decide(POLICY, "pop3-proxy.P", MailFacts(user="eve", documents=(CLEAN,)))
    assert [step.acl for step in decision.trace] == ["BOSS", "STAFF", "OK"]
    refused = policy.decide(POLICY, "pop3-proxy.P", MailFacts(documents=(CLEAN,)))
    assert (refused.action, refused.reason) == (Action.DENY, Reason.NO_ACL)


def test_an_unknown_gateway_is_a_lookup_error():
    """A misspelt gateway is told with a suggestion."""
    with pytest.raises(LookupError, match=r"did you mean http-proxy\.H"):
        policy.decide(POLICY, "http-proxi.H", ObjectFacts())


def test_facts_of_the_other_kind_are_a_type_error():
    """A mail is no object and an object no mail."""
    with pytest.raises(TypeError):
        policy.decide(POLICY, "http-proxy.H", MailFacts())
    with pytest.raises(TypeError):
        policy.decide(POLICY, "smtp-proxy.S", ObjectFacts())
