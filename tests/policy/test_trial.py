"""Running cases."""

from __future__ import annotations

from typing import Any

import pytest

from policy.cases import Case
from policy.trial import Outcome, find_unreached, list_acls, try_case
from tests.policy.policies import make_policy

DOC = {"name": "D", "antivirus": ["A", "B"]}
OK = {"name": "OK", "action": "accept"}
MAIL = {"listen": "127.0.0.1:0", "server": "127.0.0.1:25", "use-antivirus": "A"}
FTP = {"listen": "127.0.0.1:0", "server": "127.0.0.1:21", "doc-acl": [DOC]}
POLICY = make_policy(
    http_proxy={
        "H": {"doc-acl": [{"name": "SSE", "when": {"content-type": "text/event-stream"}}, DOC]},
        "STRICT": {"doc-acl": [DOC], "merge": "strict"},
        "LAN": {"doc-acl": [DOC], "session-acl": {"name": "L", "when": {"client": "10.0.0.0/8"}, "action": "permit"}},
    },
    ftp_proxy={"F": {**FTP, "command-acl": {"name": "RO", "commands": "RETR", "action": "permit"}}, "G": FTP},
    smtp_proxy={"S": {**MAIL, "mail-acl": [OK], "doc-acl": [OK]}},
)


def run(proxy: str, expect: dict[str, Any], **subject: Any) -> Outcome:
    return try_case(POLICY, Case.model_validate({"name": "x", "proxy": proxy, "expect": expect, **subject}))


@pytest.mark.parametrize(
    ("proxy", "subject", "expect"),
    [
        ("http-proxy.H", {"document": {"virus-status": "free"}}, {"acl": "D", "action": "accept", "reason": "none"}),
        ("http-proxy.H", {"document": {"content-type": "text/event-stream"}}, {"acl": "SSE", "action": "accept"}),
        ("http-proxy.H", {"document": {"size": 11}}, {"action": "accept"}),
        ("http-proxy.STRICT", {"document": {"size": 11}}, {"action": "deny", "reason": "antivirus-status"}),
        ("http-proxy.H", {"document": {"size": "1GiB"}}, {"action": "deny", "reason": "antivirus-status"}),
        ("http-proxy.LAN", {"session": {"client": "10.0.0.1"}}, {"acl": "L", "action": "permit"}),
        ("http-proxy.LAN", {"session": {"client": "8.8.8.8"}}, {"acl": "none", "action": "deny", "reason": "no-acl"}),
        ("ftp-proxy.F", {"command": {"command": "retr"}}, {"acl": "RO", "action": "permit"}),
        ("ftp-proxy.F", {"command": {"command": "STOR"}}, {"acl": "none", "action": "deny"}),
        ("ftp-proxy.G", {"command": {"command": "STOR"}}, {"acl": "none", "action": "permit"}),
        (
            "smtp-proxy.S",
            {"mail": {"documents": [{}, {"virus-status": "skipped"}]}},
            {"action": "accept", "virus-status": "skipped", "documents": [{"acl": "OK"}, {"action": "accept"}]},
        ),
    ],
)
def test_a_case_passes(proxy: str, subject: dict[str, Any], expect: dict[str, Any]):
    """What comes out is as expected; without a status healthy engines of these sizes are imagined."""
    assert run(proxy, expect, **subject).complaints == ()


@pytest.mark.parametrize(
    ("proxy", "subject", "expect", "complaint"),
    [
        ("http-proxy.H", {"document": {"virus-status": "found"}}, {"action": "accept"}, "action is deny, not accept"),
        (
            "http-proxy.H",
            {"document": {"virus-status": "found"}},
            {"quarantine": True},
            "quarantine is false, not true",
        ),
        ("http-proxy.H", {"document": {}}, {"acl": "SSE"}, "acl is D, not SSE"),
        ("ftp-proxy.F", {"command": {"command": "STOR"}}, {"action": "permit"}, "action is deny, not permit"),
        ("smtp-proxy.S", {"mail": {"documents": {}}}, {"copy-to": "a@b"}, "copy-to is nobody, not a@b"),
        ("smtp-proxy.S", {"mail": {"documents": {}}}, {"documents": [{}, {}]}, "1 documents were judged, not 2"),
        ("smtp-proxy.S", {"mail": {"documents": {}}}, {"documents": {"acl": "X"}}, "documents[0].acl is OK, not X"),
        (
            "smtp-proxy.S",
            {"mail": {"documents": {}}},
            {"documents": {"action": "replace"}},
            "documents[0].action is accept, not replace",
        ),
    ],
)
def test_a_case_fails_with_what_came_out(proxy: str, subject: dict[str, Any], expect: dict[str, Any], complaint: str):
    """A failure says what came out instead, with the trace."""
    outcome = run(proxy, expect, **subject)
    assert not outcome.passed
    assert outcome.complaints == (complaint,)


def test_coverage_counts_every_list():
    """What no case matched is left, in the policy's order; documents' ACLs count."""
    outcomes = [
        run("http-proxy.H", {"acl": "WRONG"}, document={}),
        run("smtp-proxy.S", {"acl": "OK"}, mail={"documents": {}}),
        run("ftp-proxy.F", {"acl": "RO"}, command={"command": "RETR"}),
    ]
    assert find_unreached(POLICY, outcomes) == [
        ("http-proxy.H", "doc-acl", "SSE"),
        ("http-proxy.STRICT", "doc-acl", "D"),
        ("http-proxy.LAN", "session-acl", "L"),
        ("http-proxy.LAN", "doc-acl", "D"),
        ("ftp-proxy.F", "doc-acl", "D"),
        ("ftp-proxy.G", "doc-acl", "D"),
    ]
    assert len(list(list_acls(POLICY))) == 10


def test_a_gateway_that_is_not_there_is_a_lookup_error():
    """A case for an unknown gateway is no failure of the policy."""
    with pytest.raises(LookupError):
        run("http-proxy.NONE", {"acl": "D"}, document={})
