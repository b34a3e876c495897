"""Warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy.lint import is_public, lint
from policy.load import default_policy_path, load
from tests.policy.policies import make_policy

ROOT = Path(__file__).parents[2]
ACL = {"name": "D", "antivirus": "A"}


def warnings(*acls: dict[str, Any], **rest: Any) -> dict[str, str]:
    """The warnings about one http-proxy, by place."""
    policy = make_policy(http_proxy={"H": {"doc-acl": list(acls), **rest}})
    return {".".join(map(str, loc)).removeprefix("http-proxy.H."): text for loc, text in lint(policy)}


def test_the_shipped_default_has_nothing_to_warn_about():
    """The tutorial is safe as it is."""
    assert list(lint(load(default_policy_path()))) == []


def test_the_chapter_has_exactly_its_known_hole():
    """SMTP-2 lets unknown through, disabled or not, and nothing else is said."""
    ((loc, text),) = lint(load(ROOT / "examples/chapter/policy.yaml"))
    assert loc == ("smtp-proxy", "SMTP-2", "doc-acl", 2)
    assert text.startswith("a document of status unknown is delivered although no engine called it free")
    assert "MAILOK" in text
    assert "DOCOK" in text


def test_a_sound_policy_is_left_in_peace():
    """Accepting what is too large is a decision, not a mistake."""
    assert warnings({**ACL, "accept-antivirus-status": ["skipped"], "interval": 5, "chunk": 2000}) == {}


def test_an_acl_behind_a_catch_all():
    """What stands behind a catch-all is told with the names of what hides it."""
    said = warnings(ACL, {"name": "LATE", "when": {"method": "GET"}, "antivirus": "A"})
    assert said == {"doc-acl.1": "can never match: D before it takes everything it would"}


def test_found_among_what_is_accepted():
    """Letting known viruses through deserves a word."""
    assert "known viruses" in warnings({**ACL, "accept-antivirus-status": "found"})["doc-acl.0.accept-antivirus-status"]


@pytest.mark.parametrize(("limit", "warned"), [("64KiB", False), ("256KiB", False), ("1MiB", True), ("1GiB", True)])
def test_a_trickle_that_could_carry_an_object(limit: str, warned: bool):
    """A limit of a usual object's size is told, the specification's is not."""
    said = warnings({**ACL, "interval": 5, "chunk": 2000, "limit": limit})
    assert ("doc-acl.0.limit" in said) is warned


def test_an_unchecked_catch_all():
    """An ACL that takes everything and checks nothing is told; one with conditions is a decision."""
    assert "unchecked" in warnings({"name": "ALL"})["doc-acl.0"]
    assert warnings({"name": "SSE", "when": {"content-type": "text/event-stream"}}, ACL) == {}


def test_keys_without_effect():
    """What will never be looked at is told with the reason."""
    denied = warnings({**ACL, "action": "deny", "when": {"method": "PUT"}})
    assert denied == {"doc-acl.0.antivirus": "has no effect, for action is deny"}
    unchecked = warnings({"name": "U", "when": {"method": "PUT"}, "quarantine": True})
    assert unchecked == {"doc-acl.0.quarantine": "has no effect, for there is no antivirus"}
    assert "doc-acl.0.limit" in warnings({**ACL, "limit": "1KiB"})


@pytest.mark.parametrize(
    ("rest", "warned"),
    [
        ({"listen": "0.0.0.0:8080"}, True),
        ({"listen": "[::]:8080"}, True),
        ({"listen": "8.8.8.8:8080"}, True),
        ({"listen": "127.0.0.1:8080"}, False),
        ({"listen": "10.0.0.1:8080"}, False),
        ({"listen": "/run/sluice.sock"}, False),
        ({"listen": "0.0.0.0:8080", "tls": {"mode": "implicit", "certificate": "c", "key": "k"}}, False),
        (
            {"listen": "0.0.0.0:1", "session-acl": {"name": "L", "when": {"client": "10.0.0.0/8"}, "action": "permit"}},
            False,
        ),
        ({"listen": "0.0.0.0:1", "session-acl": {"name": "ALL", "action": "permit"}}, True),
        ({"listen": "0.0.0.0:8080", "enabled": False}, True),
    ],
)
def test_a_public_listener(rest: dict[str, Any], warned: bool):
    """A gateway that strangers reach without TLS or a client ACL is told, disabled ones too."""
    assert ("listen" in warnings(ACL, **rest)) is warned


def test_public_addresses():
    """Names are not resolved, documentation and private networks are not public."""
    assert is_public("::")
    assert not is_public("example.com")
    assert not is_public("192.168.1.1")


def test_two_gateways_at_one_address():
    """Only one of two enabled gateways can have an address; port 0 is another one each time."""
    first = {"listen": "127.0.0.1:1", "doc-acl": [ACL]}
    policy = make_policy(http_proxy={"H": first, "I": first, "J": {**first, "enabled": False}})
    assert [loc for loc, _ in lint(policy)] == [("http-proxy", "I", "listen")]
    anywhere = {"listen": "127.0.0.1:0", "doc-acl": [ACL]}
    assert list(lint(make_policy(http_proxy={"H": anywhere, "I": anywhere}))) == []


def test_proven_limits_below_max_checked_size():
    """Once an engine is proven, a limit of its own below max-checked-size is told; unknown names are passed over."""
    policy = make_policy(http_proxy={"H": {"doc-acl": [ACL]}})
    ((loc, text),) = lint(policy, {"A": 2**20, "GONE": 1})
    assert loc == ("antivirus", "A", "max-checked-size")
    assert "1048576 bytes" in text
    assert list(lint(policy, {"A": 100 * 2**20})) == []
