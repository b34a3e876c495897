"""Who uses which engine."""

from __future__ import annotations

from pathlib import Path

from avsluice.engines import find_uses, open_engines, started, used_names
from policy.load import load
from policy.model import Policy
from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.specimens import EICAR

ROOT = Path(__file__).parents[2]


def test_every_kind_of_gateway_is_asked():
    """The chapter's enabled gateways name their engine in doc-acl, on the gateway, and in command-acl."""
    policy = load(ROOT / "examples/chapter/policy.yaml")
    told = list(map(str, find_uses(policy)))
    assert used_names(policy) == ["CLAMAV"]
    for kind in ("http-proxy.HTTP DOCUMENTS", "smtp-proxy.SMTP", "pop3-proxy.POP3 CMDOK", "imap4-proxy.IMAP4 CMDOK"):
        assert kind in told


def test_disabled_gateways_use_nothing():
    """An engine of a disabled gateway is not contacted."""
    doc_acl = [{"name": "A", "antivirus": ["E"]}]
    raw = {"antivirus": {"E": {"protocol": "builtin"}}, "http-proxy": {"H": {"enabled": False, "doc-acl": doc_acl}}}
    assert used_names(Policy.model_validate(raw)) == []


async def test_nothing_is_remembered():
    """The same bytes are asked about anew each time."""
    policy = Policy.model_validate({"antivirus": {"E": {"protocol": "builtin"}}})
    engine = open_engines(policy, ["E"])["E"]
    async with started([engine]):
        reports = [await engine.check(MemoryBody(EICAR)) for _ in range(2)]
    assert [(r.status, r.cached) for r in reports] == [(Status.FOUND, False)] * 2
