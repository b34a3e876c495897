"""What the metrics say."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from inspection.audit import AuditLog, AuditRecord, new_id
from inspection.checkpoint import Checkpoint
from inspection.metrics import Metrics
from policy.verdict import Coverage, ScanReport, Status
from scanners.body import MemoryBody
from tests.policy.policies import make_policy

ROOT = Path(__file__).parents[2]


def record(**more) -> AuditRecord:
    known = {
        "time": datetime(2026, 1, 2, tzinfo=UTC),
        "proxy": "http-proxy.HTTP",
        "session": "s",
        "id": new_id(),
        "direction": "download",
        "size": 100,
        "status": Status.FREE,
        "action": "accept",
        "ms": 70.0,
    }
    return AuditRecord(**{**known, **more})


def report(**more) -> ScanReport:
    known = {"antivirus": "AV", "protocol": "builtin", "status": Status.FREE, "ms": 3.0, "coverage": Coverage.FULL}
    return ScanReport(**{**known, **more})


def value(metrics: Metrics, sample: str) -> float | None:
    """The value of one sample, its labels in alphabetical order."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", _sorted(metrics.expose()[1].decode()), re.MULTILINE)
    return float(found[1]) if found else None


def _sorted(text: str) -> str:
    return re.sub(r"\{([^}]*)\}", lambda match: "{" + ",".join(sorted(match[1].split(","))) + "}", text)


def test_records_are_counted_by_what_was_decided():
    """Status, action, reason, direction and protocol are labels; bytes and releases are summed up."""
    metrics = Metrics()
    for _ in range(2):
        metrics.count(record())
    metrics.count(record(status=Status.FOUND, action="cut", reason="virus-found", released=7, quarantine="x"))
    of = 'direction="download",protocol="http",proxy="http-proxy.HTTP"'
    ours = 'protocol="http",proxy="http-proxy.HTTP"'
    assert value(metrics, f'avsluice_objects_total{{action="accept",{of},reason="",status="free"}}') == 2
    assert value(metrics, f'avsluice_objects_total{{action="cut",{of},reason="virus-found",status="found"}}') == 1
    assert value(metrics, f"avsluice_object_bytes_total{{{ours}}}") == 300
    assert value(metrics, f"avsluice_released_bytes_total{{{ours}}}") == 7
    assert value(metrics, 'avsluice_quarantined_total{proxy="http-proxy.HTTP"}') == 1
    assert value(metrics, f'avsluice_object_seconds_bucket{{le="0.05",{ours}}}') == 0
    assert value(metrics, f'avsluice_object_seconds_bucket{{le="0.1",{ours}}}') == 3


def test_engines_answers_are_counted_and_timed():
    """A remembered verdict is counted as such, and its time is nobody's check time."""
    metrics = Metrics()
    metrics.count(record(engines=(report(), report(cached=True, status=Status.FOUND))))
    ours = 'antivirus="AV",cached="{}",protocol="builtin",status="{}"'
    assert value(metrics, f"avsluice_engine_answers_total{{{ours.format('false', 'free')}}}") == 1
    assert value(metrics, f"avsluice_engine_answers_total{{{ours.format('true', 'found')}}}") == 1
    assert value(metrics, 'avsluice_check_seconds_count{antivirus="AV"}') == 1


def test_open_metrics_carries_the_id():
    """Who asks for OpenMetrics gets the id of a record behind each bucket; others get the plain format."""
    metrics = Metrics()
    one = record()
    metrics.count(one)
    content_type, text = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert f'# {{id="{one.id}"}} 0.07'.encode() in text
    content_type, text = metrics.expose("")
    assert content_type.startswith("text/plain")
    assert one.id.encode() not in text


@pytest.fixture
def checkpoint(tmp_path: Path):
    """An ftp-proxy's, with the built-in engine, whose policy asks for metrics."""
    policy = make_policy(
        antivirus={"AV": {"protocol": "builtin", "concurrency": 1}},
        metrics={"listen": "127.0.0.1:0"},
        ftp_proxy={
            "X": {"listen": "127.0.0.1:0", "server": "127.0.0.1:21", "doc-acl": {"name": "D", "antivirus": "AV"}}
        },
    )
    ((label, proxy),) = policy.gateways()
    log = AuditLog(tmp_path / "audit.log")
    yield Checkpoint(policy, label, proxy, log)
    log.close()


async def test_a_checkpoint_is_measured_from_opening_to_closing(checkpoint):
    """Gauges tell transfers, spooled bytes and each engine's proof and limit; after the end nothing of it is left."""
    metrics = checkpoint.metrics = Metrics()
    assert metrics.find_unready() == ["no policy is in force"]
    await checkpoint.open()
    spool = checkpoint.room.open()
    spool.append(b"12345")
    checkpoint.enter(cast("object", spool))
    assert metrics.find_unready() == []
    assert value(metrics, 'avsluice_transfers{proxy="ftp-proxy.X"}') == 1
    assert value(metrics, 'avsluice_spool_bytes{proxy="ftp-proxy.X"}') == 5
    text = _sorted(metrics.expose()[1].decode())
    assert re.search(r'avsluice_engine_up\{antivirus="AV",.*protocol="builtin",proxy="ftp-proxy.X"\} 1.0', text)
    assert re.search(r'avsluice_engine_limit_bytes\{antivirus="AV",.*\} [1-9]', text)
    checkpoint.leave(cast("object", spool))
    spool.close()
    await checkpoint.close()
    metrics.watched.discard(checkpoint)
    assert "ftp-proxy.X" not in metrics.expose()[1].decode()


async def test_waiting_for_a_place_is_measured(checkpoint):
    """Every check that an engine was asked for leaves its waiting time, also where it did not wait."""
    metrics = checkpoint.metrics = Metrics()
    await checkpoint.open()
    antivirus = checkpoint.antiviruses["AV"]
    await asyncio.gather(*(antivirus.check(MemoryBody(bytes([n]) * 9)) for n in range(3)))
    assert value(metrics, 'avsluice_queue_seconds_count{antivirus="AV"}') == 3
    await checkpoint.close()


async def test_an_engine_without_proof_is_not_ready(checkpoint):
    """A gateway whose engine does not answer is named."""
    metrics = Metrics()
    metrics.watch(checkpoint)
    assert metrics.find_unready() == ["ftp-proxy.X: antivirus AV is not proven"]


async def test_every_name_is_documented(checkpoint):
    """docs/metrics.md lists each family that can be exposed."""
    metrics = checkpoint.metrics = Metrics()
    await checkpoint.open()
    metrics.count(record(engines=(report(),)))
    page = (ROOT / "docs/metrics.md").read_text()
    names = re.findall(r"^# TYPE (\S+)", metrics.expose()[1].decode(), re.MULTILINE)
    assert len(names) > 12
    names = [name for name in names if not name.endswith("_created")]  # told of all at once
    assert [name for name in names if f"`{name}`" not in page] == []
    await checkpoint.close()
