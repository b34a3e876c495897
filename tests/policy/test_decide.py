"""HTTP and FTP: the doc-acl first, then its outcome."""

from __future__ import annotations

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import choose_command, choose_command_acl, choose_doc_acl, decide_document, decide_session
from policy.decision import Action, Choice, Reason
from policy.facts import ObjectFacts, SessionFacts
from policy.model import DocAcl
from policy.verdict import Status
from tests.policy.policies import make_ftp, make_http, make_pop3

CHECKED = {"name": "CHECKED", "antivirus": ["A"]}


def choose(*acls: dict[str, object], **facts: object) -> Choice[DocAcl]:
    return choose_doc_acl(make_http(*acls), ObjectFacts(**facts))  # type: ignore[arg-type]  # facts by keyword


def test_the_first_match_wins():
    """Of two ACLs that hold the earlier one is chosen, and swapping them changes the outcome."""
    get = {"name": "GET", "when": {"method": "GET"}, "action": "deny"}
    assert choose(get, CHECKED, method="GET").acl.name == "GET"
    assert choose(CHECKED, get, method="GET").acl.name == "CHECKED"


def test_the_trace_says_why_the_earlier_ones_did_not_match():
    """Every ACL looked at is in the trace, with its reason, and none beyond the one that matched."""
    put = {"name": "PUT", "when": {"method": "PUT"}}
    choice = choose(put, CHECKED, {"name": "LATER"}, method="GET")
    assert [(s.acl, s.matched, s.why) for s in choice.trace] == [
        ("PUT", False, "method is GET, not PUT"),
        ("CHECKED", True, "it has no conditions"),
    ]
    assert str(choice.trace[0]) == "doc-acl PUT: no match: method is GET, not PUT"


def test_no_match_rejects():
    """An object that no ACL takes is refused for that reason."""
    choice = choose({"name": "PUT", "when": {"method": "PUT"}}, method="GET")
    decision = decide_document(choice, Status.FREE)
    assert (decision.action, decision.reason, decision.acl) == (Action.DENY, Reason.NO_ACL, None)


def test_magic_makes_the_choice_wait_and_goes_on_when_the_head_is_there():
    """Nothing is chosen before the first bytes where they could matter, and everything after them."""
    program = {"name": "PROGRAM", "when": {"magic": "application/x-dosexec"}, "action": "deny"}
    waiting = choose(program, CHECKED)
    assert waiting.waits_for_head
    assert waiting.acl is None
    assert choose(program, CHECKED, head=b"MZ").acl.name == "PROGRAM"
    assert choose(program, CHECKED, head=b"").acl.name == "CHECKED"
    assert not choose(CHECKED, program).waits_for_head


@pytest.mark.parametrize(
    ("status", "action", "reason", "kept"),
    [
        (Status.FREE, Action.ACCEPT, None, False),
        (Status.FOUND, Action.DENY, Reason.VIRUS_FOUND, True),
        (Status.SKIPPED, Action.DENY, Reason.ANTIVIRUS_STATUS, True),
        (Status.UNKNOWN, Action.DENY, Reason.ANTIVIRUS_STATUS, True),
        (Status.ERROR, Action.DENY, Reason.ANTIVIRUS_ERROR, False),
        (None, Action.DENY, Reason.ANTIVIRUS_ERROR, False),
    ],
)
def test_only_free_passes_by_default(status: Status | None, action: Action, reason: Reason | None, kept: bool):
    """Every other status is refused with its reason, kept except for errors; no status at all is an error."""
    decision = decide_document(choose({**CHECKED, "quarantine": True}), status)
    assert (decision.action, decision.reason, decision.quarantine) == (action, reason, kept)
    assert decision.acl == "CHECKED"
    assert decision.passes is (action is Action.ACCEPT)


@pytest.mark.parametrize("accepted", Status)
def test_accepted_statuses_pass_besides_free(accepted: Status):
    """accept-antivirus-status adds exactly what it names."""
    choice = choose({**CHECKED, "accept-antivirus-status": [accepted]})
    passing = {status for status in Status if decide_document(choice, status).passes}
    assert passing == {Status.FREE, accepted}


def test_without_antivirus_an_object_passes_unchecked():
    """No engine named is a knowing decision, and needs no status."""
    decision = decide_document(choose({"name": "STREAM"}))
    assert (decision.action, decision.reason, decision.acl) == (Action.ACCEPT, None, "STREAM")


def test_deny_needs_no_status():
    """An ACL that denies is obeyed whatever an engine says."""
    decision = decide_document(choose({"name": "NO", "action": "deny"}), Status.FREE)
    assert (decision.action, decision.reason) == (Action.DENY, Reason.ACL)


def test_a_refusal_after_bytes_left_is_a_cut():
    """What has begun to arrive can only be cut."""
    assert decide_document(choose(CHECKED), Status.FOUND, released=1).action is Action.CUT
    assert decide_document(choose(CHECKED), Status.FREE, released=1).action is Action.ACCEPT


ACLS = st.lists(
    st.fixed_dictionaries(
        {"when": st.sampled_from([{}, {"method": "GET"}, {"extension": "exe"}, {"size": ">10"}])},
        optional={
            "action": st.sampled_from(["accept", "deny"]),
            "antivirus": st.just(["A"]),
            "accept-antivirus-status": st.lists(st.sampled_from(list(Status)), max_size=2),
            "quarantine": st.booleans(),
        },
    ),
    min_size=1,
    max_size=4,
)
FACTS = st.builds(
    ObjectFacts,
    method=st.sampled_from([None, "GET", "PUT"]),
    filename=st.sampled_from([None, "a.exe", "a"]),
    size=st.none() | st.integers(0, 20),
)


@given(ACLS, FACTS, st.sampled_from([None, *Status]), st.integers(0, 2))
def test_nothing_but_free_passes_unless_named(
    rows: list[dict[str, object]], facts: ObjectFacts, status: Status | None, released: int
):
    """Whatever the lists: what passes is free, named by the ACL that decided, or by an ACL without antivirus."""
    proxy = make_http(*({"name": f"N{n}", **row} for n, row in enumerate(rows)))
    choice = choose_doc_acl(proxy, facts)
    decision = decide_document(choice, status, released=released)
    if decision.passes:
        acl = choice.acl
        assert acl is not None
        assert acl.action == "accept"
        assert acl.antivirus is None or status is Status.FREE or (status or Status.ERROR) in acl.accept_antivirus_status
    else:
        assert decision.reason is not None
        assert decision.action is (Action.CUT if released else Action.DENY)


def test_choosing_is_cheap():
    """Three ACLs are walked in far less time than a request takes."""
    proxy = make_http(
        {"name": "STREAM", "when": {"content-type": "text/event-stream"}},
        {"name": "HOSTS", "when": {"host": ["*.example.com", "example.net"]}},
        CHECKED,
    )
    facts = ObjectFacts(url="http://www.example.org/a.zip", content_type="application/zip", method="GET")
    runs = 500
    best = min(timeit.repeat(lambda: choose_doc_acl(proxy, facts), number=runs, repeat=5)) / runs
    assert best < 200e-6  # about 10 us on an idle machine


@pytest.mark.parametrize(
    ("client", "action", "reason"),
    [("10.0.0.1", Action.ACCEPT, None), ("10.6.6.6", Action.DENY, Reason.ACL), ("8.8.8.8", Action.DENY, Reason.NO_ACL)],
)
def test_session_acl(client: str, action: Action, reason: Reason | None):
    """The first session-acl that matches decides, and none refuses."""
    acls = [
        {"name": "BAD", "when": {"client": "10.6.6.6"}, "action": "deny"},
        {"name": "LAN", "when": {"client": "10.0.0.0/8"}, "action": "permit"},
    ]
    decision = decide_session(make_http(CHECKED, **{"session-acl": acls}), SessionFacts(client=client))
    assert (decision.action, decision.reason) == (action, reason)


def test_without_session_acl_everyone_may_connect():
    """An absent session-acl permits."""
    assert decide_session(make_http(CHECKED), SessionFacts()).passes


@pytest.mark.parametrize(
    ("command", "action"),
    [("STOR", "deny"), ("site chmod", "abort"), ("SITE", "permit"), ("RETR", "permit"), ("MKD", None)],
)
def test_ftp_command_acl(command: str, action: str | None):
    """Commands are matched in any case, by their first word or both; what no ACL names is not permitted."""
    acls = [
        {"name": "NOCHMOD", "commands": "SITE CHMOD", "action": "abort"},
        {"name": "READ", "commands": ["RETR", "SITE"], "action": "permit"},
        {"name": "NOSTOR", "commands": ["stor"], "action": "deny"},
        {"name": "ADMIN", "when": {"user": "root"}, "action": "permit"},
    ]
    choice = choose_command(make_ftp(CHECKED, **{"command-acl": acls}), command, SessionFacts(user="guest"))
    assert choice is not None
    assert (choice.acl.action if choice.acl else None) == action


def test_without_command_acl_there_is_no_choice():
    """An absent FTP command-acl permits what is policed."""
    assert choose_command(make_ftp(CHECKED), "RETR", SessionFacts()) is None


def test_mailbox_command_acl_is_chosen_by_user():
    """A mailbox session gets the first command-acl that its user matches."""
    acls = [
        {"name": "BOSS", "when": {"user": "boss"}, "no-mail-scanning": True},
        {"name": "ALL", "use-antivirus": ["A"]},
    ]
    accept = [{"name": "OK", "action": "accept"}]
    proxy = make_pop3(accept, accept, **{"command-acl": acls})
    assert choose_command_acl(proxy, SessionFacts(user="Boss")).acl.no_mail_scanning
    assert choose_command_acl(proxy, SessionFacts(user="eve")).acl.name == "ALL"
