"""One gateway's classifications and records."""

from __future__ import annotations

import gzip
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons.body.transfer import Transfer
from addons.gateway import HttpGateway
from addons.wire.exchange import Clearance
from addons.wire.receiver import Receiver
from inspection.audit import AuditLog
from inspection.record import AuditRecord
from policy.decision import Reason
from policy.model import Policy
from policy.verdict import Status
from tests.addons.bodies import settle, take_all

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Notes:
    """An audit log to look into."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def write(self, record: AuditRecord) -> None:
        self.records.append(record)


def make(*acls: dict[str, Any], **proxy: Any) -> tuple[HttpGateway, Notes]:
    listed = list(acls) or [{"name": "ALL", "antivirus": "AV"}]
    data = {"antivirus": {"AV": {"protocol": "builtin"}}, "http-proxy": {"H": {"doc-acl": listed, **proxy}}}
    policy = Policy.model_validate(data)
    notes = Notes()
    gateway = HttpGateway(
        policy,
        "H",
        policy.http_proxy["H"],
        audit=cast(AuditLog, notes),
        receivers=lambda flow, upload: Receiver(None, flow.client_conn),
    )
    return gateway, notes


def download(status: int = 200, **headers: str) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.response.status_code = status
    flow.response.headers = http.Headers(**headers)
    return flow


async def test_a_virus_is_refused_and_recorded_once() -> None:
    """The built-in engine finds EICAR under gzip; one record tells it, and the flow is marked."""
    gateway, notes = make()
    await gateway.open()
    flow = download(Content_Encoding="gzip")
    transfer = gateway.open_download(flow)
    assert isinstance(transfer, Transfer)
    transfer.start()
    transfer.feed(gzip.compress(EICAR))
    transfer.finish()
    out, _ = await take_all(transfer)
    assert out == b""
    assert [(r.status, r.action, r.size) for r in notes.records] == [(Status.FOUND, "deny", 68)]
    assert flow.marked == ":biohazard:"
    await gateway.close()


async def test_what_passes_by_name_is_recorded() -> None:
    """A body without an antivirus in its ACL is cleared at once, and that is told."""
    gateway, notes = make({"name": "OPEN"})
    assert gateway.open_download(download()) is Clearance.UNCHECKED
    assert [(r.status, r.action, r.acl) for r in notes.records] == [(None, "accept", "OPEN")]
    await gateway.close()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {}),
        (200, {"Content_Encoding": "compress"}),
        (200, {"Transfer_Encoding": "gzip, chunked"}),
    ],
)
async def test_a_body_of_doubt_is_refused_at_once(status: int, headers: dict[str, str]) -> None:
    """Unasked pieces and unknown codings are `unknown` before their first byte."""
    gateway, notes = make()
    transfer = gateway.open_download(download(status, **headers))
    assert isinstance(transfer, Transfer)
    transfer.start()
    assert (await take_all(transfer))[0] == b""
    assert [r.status for r in notes.records] == [Status.UNKNOWN]
    await gateway.close()


async def test_a_close_cuts_and_records() -> None:
    """Transfers that outlive the patience are cut, and each has its record."""
    gateway, notes = make()
    transfer = gateway.open_download(download())
    assert isinstance(transfer, Transfer)
    transfer.start()
    transfer.feed(b"half")
    await gateway.close(patience=0)
    await settle()
    assert [(r.status, r.reason) for r in notes.records] == [(Status.ERROR, Reason.ANTIVIRUS_ERROR)]
    assert gateway.room.used == 0


async def test_a_refused_target_is_a_page_and_a_record() -> None:
    """403 with the id that the record has."""
    gateway, notes = make()
    page = gateway.refuse_target(download(), "no target")
    assert (page.status_code, notes.records[0].action, notes.records[0].reason) == (403, "deny", "acl")
    assert page.headers["x-sluice-id"] == notes.records[0].id
    await gateway.close()


async def test_sessions_are_judged_by_their_acl() -> None:
    """A client outside of the networks is refused and recorded; without a session-acl everybody may come."""
    rule = {"name": "LAN", "when": {"client": ["192.0.2.0/24"]}, "action": "permit"}
    gateway, notes = make(**{"session-acl": [rule]})
    assert gateway.refuse_session("192.0.2.9", "s") is None
    assert gateway.refuse_session("198.51.100.9", "s")
    assert [(r.client, r.action, r.reason) for r in notes.records] == [("198.51.100.9", "deny", Reason.NO_ACL)]
    await gateway.close()
    gateway, _ = make()
    assert gateway.refuse_session("198.51.100.9", "s") is None
    await gateway.close()


async def test_a_large_body_tells_its_verdict_while_it_leaves() -> None:
    """The flow is marked once the verdict is known, and again with the record at the body's end."""
    gateway, notes = make()
    await gateway.open()
    flow = download()
    transfer = gateway.open_download(flow)
    assert isinstance(transfer, Transfer)
    transfer.start()
    transfer.feed(bytes(3_000_000))
    transfer.finish()
    await transfer.next_step()
    assert (flow.metadata["av.status"], flow.metadata["av.download"]["size"]) == ("free", 3_000_000)
    assert notes.records == []
    transfer.close()
    assert len(notes.records) == 1
    assert flow.metadata["av.download"]["id"] == notes.records[0].id
    await gateway.close()
