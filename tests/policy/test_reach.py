"""Which ACLs can ever match."""

from __future__ import annotations

from typing import Any

import pytest

from policy.reach import candidates, find_covers
from policy.verdict import Status
from tests.policy.policies import make_ftp, make_http, make_imap4, make_smtp


def covers(*whens: dict[str, Any]) -> list[tuple[int, tuple[str, ...]]]:
    """The unreachable ones among HTTP ACLs with these conditions, called by their number."""
    acls = [{"name": f"N{n}", "when": when} for n, when in enumerate(whens)]
    return list(find_covers(make_http(*acls).doc_acl))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {"method": "GET"}),
        ({"method": ["GET", "PUT"]}, {"method": "get"}),
        ({"host": "*.example.com"}, {"host": "www.example.com", "method": "GET"}),
        ({"host": "*"}, {"host": "a*"}),
        ({"extension": "exe"}, {"extension": ".EXE"}),
        ({"client": "10.0.0.0/8"}, {"client": ["10.1.0.0/16", "10.2.0.1"]}),
        ({"client": "2001:db8::/32"}, {"client": "2001:db8::1"}),
        ({"server": ["10.0.0.0/8", "*.example.com"]}, {"server": ["10.0.0.1", "a.example.com"]}),
        ({"size": ">10"}, {"size": [">=11", ">100"]}),
        ({"size": "<=10"}, {"size": "=3"}),
        ({"direction": "upload"}, {"direction": "upload", "method": "PUT"}),
        ({"time": {"weekday": "mon"}}, {"time": {"weekday": "mon"}}),
    ],
)
def test_an_acl_behind_a_wider_one_is_unreachable(wide: dict[str, Any], narrow: dict[str, Any]):
    """Where every object of the later ACL matches the earlier one, the later can never match."""
    assert covers(wide, narrow) == [(1, ("N0",))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"method": "GET"}, {}),
        ({"method": "GET"}, {"host": "a"}),
        ({"host": "a*"}, {"host": "*"}),
        ({"host": "a*"}, {"host": "a?"}),
        ({"client": "10.1.0.0/16"}, {"client": "10.0.0.0/8"}),
        ({"client": "10.0.0.0/8"}, {"client": "2001:db8::1"}),
        ({"size": ">10"}, {"size": ">=10"}),
        ({"size": ">10"}, {"size": "<100"}),
        ({"direction": "upload"}, {}),
        ({"method": "GET", "host": "a"}, {"method": "GET"}),
        ({"time": {"weekday": "mon-fri"}}, {"time": {"weekday": "mon"}}),
    ],
)
def test_what_is_not_certain_is_not_called_unreachable(first: dict[str, Any], second: dict[str, Any]):
    """A later ACL that could match something is left in peace."""
    assert covers(first, second) == []


def test_statuses_and_directions_are_counted_up():
    """Several ACLs together can take everything that a later one would."""
    assert covers({"direction": "upload"}, {"direction": "download"}, {}) == [(2, ("N0", "N1"))]
    acls = [
        {"name": "BAD", "when": {"virus-status": ["found", "error"]}, "action": "deny"},
        {"name": "ODD", "when": {"virus-status": ["skipped", "unknown"]}, "action": "deny"},
        {"name": "FREE", "when": {"virus-status": "free"}, "action": "accept"},
        {"name": "REST", "action": "deny"},
    ]
    assert list(find_covers(make_smtp(acls, acls).mail_acl)) == [(3, ("BAD", "ODD", "FREE"))]


def test_commands_of_ftp_are_looked_at():
    """A command-acl for one command does not hide one for another."""
    acls = [
        {"name": "A", "commands": "STOR", "action": "deny"},
        {"name": "B", "commands": ["RETR"], "action": "deny"},
        {"name": "C", "commands": "stor", "action": "permit"},
        {"name": "D", "action": "permit"},
        {"name": "E", "commands": "LIST", "action": "permit"},
    ]
    proxy = make_ftp({"name": "X"}, **{"command-acl": acls})
    assert list(find_covers(proxy.command_acl)) == [(2, ("A",)), (4, ("D",))]


def test_candidates_of_a_status():
    """The ACLs that could come first for a status end with the first that surely does."""
    acls = [
        {"name": "BIG", "when": {"size": ">1MiB"}, "action": "deny"},
        {"name": "UP", "when": {"virus-status": "found", "direction": "upload"}, "action": "deny"},
        {"name": "FOUND", "when": {"virus-status": "found"}, "action": "deny"},
        {"name": "OK", "action": "accept"},
    ]
    proxy = make_imap4(acls, [{"name": "D", "action": "accept"}])
    assert [a.name for a in candidates(proxy.mail_acl, Status.FOUND)] == ["BIG", "UP", "FOUND"]
    assert [a.name for a in candidates(proxy.mail_acl, Status.FREE)] == ["BIG", "OK"]
