"""What is counted and measured, for Prometheus.

Rules of this file: names are listed in docs/metrics.md and never change their meaning; labels come from the policy
and from our own vocabularies, never from a peer, so their number is bounded; nothing is counted where no
`metrics.listen` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inspection.audit import AuditLog
from inspection.record import AuditRecord
from inspection.spool import SpoolRoom
from scanners.antivirus import Antivirus

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Watched(Protocol):
    """A checkpoint, as far as it is measured."""

    name: str
    room: SpoolRoom
    antiviruses: dict[str, Antivirus]
    audit: AuditLog

    @property
    def under_way(self) -> int:
        """Transfers that have not ended."""

    def tell(self) -> list[dict[str, Any]]:
        """What they are doing."""


class Metrics:
    """Counts records, and measures the checkpoints that it watches when it is asked."""

    def __init__(self) -> None:
        self.watched: WeakSet[Watched] = WeakSet()
        self._registry = registry = CollectorRegistry()
        self._objects = Counter(
            "avsluice_objects",
            "Objects and mails that were decided on.",
            ("proxy", "protocol", "direction", "status", "action", "reason"),
            registry=registry,
        )
        self._bytes = Counter(
            "avsluice_object_bytes", "Their bytes, decoded.", ("proxy", "protocol"), registry=registry
        )
        self._released = Counter(
            "avsluice_released_bytes", "Bytes that left before a verdict.", ("proxy", "protocol"), registry=registry
        )
        self._kept = Counter("avsluice_quarantined", "Entries kept in a quarantine.", ("proxy",), registry=registry)
        self._time = Histogram(
            "avsluice_object_seconds",
            "From an object's head to its end.",
            ("proxy", "protocol"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "avsluice_first_byte_seconds",
            "From an object's head to the first byte that left, of those of which one left.",
            ("proxy",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "avsluice_engine_answers",
            "Engines' words on documents; cached: without asking.",
            ("antivirus", "protocol", "status", "cached"),
            registry=registry,
        )
        self._check = Histogram(
            "avsluice_check_seconds",
            "From a document's being complete to an engine's answer, queueing included; not of what was cached.",
            ("antivirus",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Histogram(
            "avsluice_queue_seconds",
            "How long a check waited for one of an engine's places.",
            ("antivirus",),
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(_Live(self.watched))

    def watch(self, checkpoint: Watched) -> None:
        """From now on it is measured, and its engines tell how long checks wait."""
        self.watched.add(checkpoint)
        for name, antivirus in checkpoint.antiviruses.items():
            antivirus.observe_waits(self._queue.labels(name).observe)

    def count(self, record: AuditRecord) -> None:
        """One more record."""
        protocol = record.proxy.partition("-")[0]
        self._objects.labels(
            record.proxy,
            protocol,
            record.direction or "",
            record.status or "unchecked",
            record.action,
            record.reason or "",
        ).inc()
        self._bytes.labels(record.proxy, protocol).inc(record.size or 0)
        if record.released:
            self._released.labels(record.proxy, protocol).inc(record.released)
        if record.quarantine:
            self._kept.labels(record.proxy).inc()
        self._time.labels(record.proxy, protocol).observe(max(0.0, record.ms / 1000), {"id": record.id})
        for report in record.engines:
            cached = "true" if report.cached else "false"
            self._answers.labels(report.antivirus, report.protocol, report.status, cached).inc()
            if not report.cached:
                self._check.labels(report.antivirus).observe(max(0.0, report.ms / 1000), {"id": record.id})

    def observe_first_byte(self, proxy: str, seconds: float) -> None:
        """A first byte left, so long after the object's head."""
        self._first.labels(proxy).observe(seconds)

    def expose(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text of everything, in the format that the header `Accept` asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def tell_transfers(self) -> list[dict[str, Any]]:
        """What is under way in all gateways, the oldest first."""
        return sorted((told for one in self.watched for told in one.tell()), key=lambda told: -float(told["age"]))

    def find_unready(self) -> list[str]:
        """Why traffic would not be served: nothing is in force, or an engine has no proof."""
        watched = sorted(self.watched, key=lambda one: one.name)
        if not watched:
            return ["no policy is in force"]
        return [
            f"{one.name}: antivirus {name} is not proven"
            for one in watched
            for name, antivirus in one.antiviruses.items()
            if not any(endpoint.proven for endpoint in antivirus.endpoints)
        ]


class _Live(Collector):
    """What is true at the moment of asking."""

    def __init__(self, watched: WeakSet[Watched]) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """Nothing is measured at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Each gateway once: while an old policy's transfers end, there are two of a name, which are added up."""
        watched = list(self._watched)
        yield _sum_up("avsluice_transfers", "Transfers and mails under way.", ((w.name, w.under_way) for w in watched))
        yield _sum_up(
            "avsluice_spool_bytes", "Bytes that wait for a verdict.", ((w.name, w.room.used) for w in watched)
        )
        lost = {id(w.audit): w.audit.lost for w in watched}
        yield CounterMetricFamily("avsluice_audit_lost", "Audit records that could not be written.", sum(lost.values()))
        yield from _tell_engines(watched)


def _sum_up(name: str, text: str, values: Iterable[tuple[str, int]]) -> Metric:
    totals: dict[str, int] = {}
    for proxy, value in values:
        totals[proxy] = totals.get(proxy, 0) + value
    family = GaugeMetricFamily(name, text, labels=("proxy",))
    for proxy, total in totals.items():
        family.add_metric((proxy,), total)
    return family


_ENGINE = ("proxy", "antivirus", "endpoint", "protocol")


def _tell_engines(watched: Iterable[Watched]) -> Iterator[Metric]:
    up = GaugeMetricFamily("avsluice_engine_up", "1: it has proved that it finds EICAR; 0: not.", labels=_ENGINE)
    limit = GaugeMetricFamily(
        "avsluice_engine_limit_bytes", "The largest object that it was shown to scan.", labels=_ENGINE
    )
    busy = GaugeMetricFamily("avsluice_engine_checks", "Checks under way in it.", labels=_ENGINE)
    load = GaugeMetricFamily("avsluice_engine_queue", "Checks that wait for one of its places.", labels=_ENGINE)
    seen: set[tuple[str, ...]] = set()
    for one in watched:
        for name, antivirus in one.antiviruses.items():
            for endpoint in antivirus.endpoints:
                labels = (one.name, name, str(endpoint.engine), endpoint.engine.protocol)
                if labels in seen:
                    continue
                seen.add(labels)
                up.add_metric(labels, float(endpoint.proven))
                limit.add_metric(labels, endpoint.limit or 0)
                busy.add_metric(labels, endpoint.in_flight)
                load.add_metric(labels, endpoint.load - endpoint.in_flight)
    yield from (up, limit, busy, load)


METRICS = Metrics()
"""Of this process, whatever gateways and policies live in it."""
