"""What a log adds up to.

Rules of this file: memory is bounded whatever stands in the log; where that costs exactness, the result says so; a
field of an odd type is nobody's reason to stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

ROOM = 20_000  # different things of which a `Frequent` keeps count
MOST_HOURS = 100_000
_LONGEST = 200  # characters of a thing


class Frequent:
    """Counts things, the most frequent of them well: of many different ones the rare are forgotten now and then."""

    def __init__(self, room: int = ROOM) -> None:
        self.exact = True
        self._room = room
        self._counts: Counter[str] = Counter()

    def add(self, thing: object) -> None:
        """One more; None and "" are nothing."""
        if thing is None or thing == "":
            return
        self._counts[str(thing)[:_LONGEST]] += 1
        if len(self._counts) > 2 * self._room:
            self._counts = Counter(dict(self._counts.most_common(self._room)))
            self.exact = False

    def top(self, number: int) -> list[tuple[str, int]]:
        """The most frequent, the first of equal ones by name."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]


class Tally:
    """Adds up records. `since`, `until`: what lies outside is passed over (`until` itself, too)."""

    def __init__(self, since: datetime | None = None, until: datetime | None = None) -> None:
        self._since, self._until = since, until
        self.records = self.outside = self.broken = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.numbers: Counter[str] = Counter()
        self.ms = 0.0
        self.slowest = 0.0
        self.fields = {name: Counter[str]() for name in ("event", "proxy", "status", "action", "reason")}
        self.hours: Counter[str] = Counter()
        self.refused_hours: Counter[str] = Counter()
        self.frequent = {name: Frequent() for name in ("clients", "refused_clients", "objects", "viruses", "rules")}

    def add(self, record: Mapping[str, Any]) -> None:
        """One record."""
        at = read_time(record.get("time"))
        hour = at.strftime("%Y-%m-%dT%H") if at else ""
        if at is None or (hour not in self.hours and len(self.hours) >= MOST_HOURS):
            self.broken += 1
        elif (self._since and at < self._since) or (self._until and at >= self._until):
            self.outside += 1
        else:
            self._add(record, at, hour)

    def _add(self, record: Mapping[str, Any], at: datetime, hour: str) -> None:
        self.records += 1
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)
        for name, counts in self.fields.items():
            if len(counts) < 1000:  # the vocabularies are ours, a log's may be anybody's
                counts[str(record.get(name) or ("unchecked" if name == "status" else ""))[:_LONGEST]] += 1
        for name in ("size", "released"):
            self.numbers[name] += int(_number(record.get(name)))
        self.numbers["quarantined"] += bool(record.get("quarantine"))
        ms = _number(record.get("ms"))
        self.ms += ms
        self.slowest = max(self.slowest, ms)
        self._add_engines(record.get("engines"))
        self._add_frequent(record, hour)

    def _add_frequent(self, record: Mapping[str, Any], hour: str) -> None:
        client, refused = _without_port(record.get("client")), record.get("action") not in ("accept", "release")
        self.hours[hour] += 1
        self.refused_hours[hour] += refused
        self.frequent["clients"].add(client)
        if refused:
            self.frequent["refused_clients"].add(client)
            self.frequent["objects"].add(record.get("object"))
        if record.get("acl"):
            self.frequent["rules"].add(f"{record.get('proxy')} {record['acl']}")
        for virus in set(_viruses(record)):
            self.frequent["viruses"].add(virus)

    def _add_engines(self, engines: object) -> None:
        for engine in engines if isinstance(engines, list) else []:
            if isinstance(engine, Mapping):
                self.numbers["answers"] += 1
                self.numbers["cached"] += engine.get("cached") is True
                self.numbers["engine_errors"] += engine.get("status") == "error"


def read_time(text: object) -> datetime | None:
    """RFC 3339; None for anything else."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if at is None:
        return None
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        return None


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and 0 <= value < 1e18 else 0


def _without_port(client: object) -> str | None:
    """Clients come back with another port each time."""
    if not isinstance(client, str):
        return None
    host, colon, port = client.rpartition(":")
    return host if colon and port.isdigit() and (host.endswith("]") or ":" not in host) else client


def _viruses(record: Mapping[str, Any]) -> Iterator[str]:
    documents = record.get("documents")
    for holder in [record, *(documents if isinstance(documents, list) else [])]:
        if isinstance(holder, Mapping) and isinstance(holder.get("virus"), str):
            yield holder["virus"]
