"""What was cut is refused at once when it is asked for again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons.blocked_downloads import BlockedDownloads
from addons.transfer import Transfer
from inspection.inspect_object import Inspection
from policy.decision import Action, Decision
from policy.verdict import ScanReport, Status


def make_flow(path: str = "/a", etag: str = '"1"') -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.request.path = path
    assert flow.response is not None
    flow.response.headers = http.Headers(etag=etag)
    return flow


def cut(status: Status, sent: int = 10, action: Action = Action.DENY) -> Transfer:
    inspection = Inspection(status=status, decision=Decision(action=action))
    return cast(Transfer, SimpleNamespace(inspection=inspection, sent=sent, subject=SimpleNamespace(id="i" * 20)))


@pytest.mark.parametrize(
    ("transfer", "remembered"),
    [
        (cut(Status.FOUND), True),
        (cut(Status.SKIPPED), True),
        (cut(Status.UNKNOWN), True),
        (cut(Status.ERROR), False),
        (cut(Status.FOUND, sent=0), False),
        (cut(Status.FOUND, action=Action.ACCEPT), False),
    ],
)
def test_what_was_cut_is_remembered(transfer: Transfer, remembered: bool) -> None:
    """Found, skipped and unknown after a part had left; never an error, nor what passed."""
    blocked = BlockedDownloads(600)
    blocked.remember(make_flow(), transfer)
    assert (blocked.recall(make_flow()) is not None) is remembered


def test_another_version_is_another_object() -> None:
    """URL and validators name the object."""
    blocked = BlockedDownloads(600)
    blocked.remember(make_flow(), cut(Status.FOUND))
    assert blocked.recall(make_flow(etag='"2"')) is None
    assert blocked.recall(make_flow(path="/b")) is None


def test_an_engine_that_learned_is_asked_again() -> None:
    """A new version forgets all, the same one or an unknown one nothing."""
    blocked = BlockedDownloads(600)

    def report(version: str) -> tuple[Any, ...]:
        return (ScanReport(antivirus="A", protocol="icap", status=Status.FREE, version=version),)

    blocked.notice_versions(report("1"))
    blocked.remember(make_flow(), cut(Status.FOUND))
    blocked.notice_versions(report("1") + report(""))
    assert blocked.recall(make_flow())
    blocked.notice_versions(report("2"))
    assert blocked.recall(make_flow()) is None
