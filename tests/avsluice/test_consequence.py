"""What a failing engine means at the gateways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from avsluice.consequence import find_consequences, find_leaks
from avsluice.diagnosis import Finding
from avsluice.engines import Use, find_uses
from policy.model import Policy
from policy.verdict import Coverage, Status


def make_finding(
    antivirus: str, eicar: Status, clean: Status, protocol: str = "clamav-net", zipped: Status | None = None
) -> Finding:
    """A finding of an engine that behaves so."""
    return Finding(
        antivirus=antivirus,
        protocol=protocol,
        engine=f"the engine {antivirus}",
        version="1",
        coverage=Coverage.FULL,
        proven=eicar is Status.FOUND,
        failure="" if eicar is Status.FOUND else "it is down",
        limit=None,
        limit_known=False,
        limit_setting="its limit",
        max_checked_size=1,
        eicar=eicar,
        eicar_detail="",
        eicar_ms=1,
        zipped=zipped or eicar,
        zipped_detail="",
        zipped_ms=1,
        clean=clean,
        clean_detail="",
        clean_ms=1,
    )


type Judge = Callable[[Finding, Sequence[Finding], Sequence[Use]], Iterator[str]]

DEAD = make_finding("A", Status.ERROR, Status.ERROR)
WELL = make_finding("B", Status.FOUND, Status.FREE)
NERVOUS = make_finding("A", Status.FOUND, Status.UNKNOWN)


def judge(finding: Finding, *others: Finding, find: Judge = find_consequences, **http: Any) -> list[str]:
    """What `find` finds at one http-proxy, whose doc-acl is `http` but for `merge`."""
    sections = {f.antivirus: {"protocol": "builtin"} for f in (finding, *others)}
    gateway = {"merge": http.pop("merge", "kernun"), "doc-acl": [{"name": "D", "antivirus": list(sections), **http}]}
    policy = Policy.model_validate({"antivirus": sections, "http-proxy": {"H": gateway}})
    return list(find(finding, [finding, *others], find_uses(policy)))


def test_an_engine_that_works_has_none():
    """Nothing is said where EICAR is found and what is clean is free."""
    assert judge(WELL) == []


@pytest.mark.parametrize("finding", [DEAD, NERVOUS])
def test_usually_everything_is_refused(finding: Finding):
    """Without its only engine's word a gateway refuses."""
    assert judge(finding) == ["http-proxy.H D refuses whatever it checks"]


def test_what_the_policy_accepts_passes():
    """Where the policy accepts the status, a virus would pass, and that is said loudly."""
    told = judge(DEAD, **{"accept-antivirus-status": ["error"]})
    assert told == ["http-proxy.H D would LET EICAR PASS"]
    assert judge(NERVOUS, **{"accept-antivirus-status": ["unknown"]}) == ["http-proxy.H D lets it pass all the same"]


def test_another_engine_decides_by_the_usual_merge():
    """Beside an engine that works, kernun goes by that one and strict refuses."""
    assert judge(DEAD, WELL) == ["http-proxy.H D goes by what B says"]
    assert judge(DEAD, WELL, merge="strict") == ["http-proxy.H D refuses whatever it checks"]


def test_the_built_in_engine_never_stands_in():
    """What `builtin` says beside another engine does not count."""
    builtin = make_finding("B", Status.FOUND, Status.FREE, protocol="builtin")
    assert judge(DEAD, builtin) == ["http-proxy.H D refuses whatever it checks"]


def test_another_endpoint_does_the_work():
    """One of two equal endpoints may be down."""
    other = make_finding("A", Status.FOUND, Status.FREE)
    assert judge(DEAD, other) == ["the other endpoints of A do its work"]


@pytest.mark.parametrize(
    ("acls", "told"), [({}, "defers every mail"), ({"when": {"virus-status": ["error"]}}, "would LET EICAR PASS")]
)
def test_mail_is_deferred_unless_the_policy_names_error(acls: dict[str, Any], told: str):
    """A catch-all does not name `error`; ACLs that do, and accept, let it pass."""
    accept = [{"name": "X", "action": "accept", **acls}]
    gateway = {"listen": "127.0.0.1:0", "server": "h:25", "use-antivirus": ["A"], "mail-acl": accept, "doc-acl": accept}
    policy = Policy.model_validate({"antivirus": {"A": {"protocol": "builtin"}}, "smtp-proxy": {"S": gateway}})
    assert list(find_consequences(DEAD, [DEAD], find_uses(policy))) == [f"smtp-proxy.S {told}"]


@pytest.mark.parametrize(
    ("zipped", "acl", "leaks"),
    [
        (Status.FOUND, {}, False),
        (Status.FREE, {}, True),
        (Status.SKIPPED, {}, False),
        (Status.SKIPPED, {"accept-antivirus-status": ["skipped"]}, True),
        (Status.ERROR, {"accept-antivirus-status": ["skipped"]}, False),
    ],
)
def test_an_archive_that_nobody_unpacks(zipped: Status, acl: dict[str, Any], leaks: bool):
    """It passes where the engine calls it free, or the policy accepts what it says."""
    finding = make_finding("A", Status.FOUND, Status.FREE, zipped=zipped)
    told = judge(finding, find=find_leaks, **acl)
    assert told == (["http-proxy.H D would LET EICAR PASS in an archive"] if leaks else [])


@pytest.mark.parametrize("protocol", ["clamav-net", "builtin"])
def test_another_engine_looks_into_the_archive(protocol: str):
    """Beside one that finds it nothing passes; beside one that does not, it does."""
    finding = make_finding("A", Status.FOUND, Status.FREE, zipped=Status.FREE)
    finder = make_finding("B", Status.FOUND, Status.FREE, protocol)
    blind = make_finding("B", Status.FOUND, Status.FREE, protocol, zipped=Status.FREE)
    assert judge(finding, finder, find=find_leaks) == []
    assert len(judge(finding, blind, find=find_leaks)) == 1


def test_another_endpoint_looks_into_other_archives():
    """One of two equal endpoints lets through what it is asked about."""
    finding = make_finding("A", Status.FOUND, Status.FREE, zipped=Status.FREE)
    other = make_finding("A", Status.FOUND, Status.FREE)
    assert len(judge(finding, other, find=find_leaks)) == 1
