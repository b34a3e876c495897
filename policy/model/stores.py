"""Where things are kept: quarantine, spool, cache, audit record, metrics.

Rules of this file: sizes are bytes, durations seconds; a directory that is not named is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from policy.fields import Count, Duration, DurationOrZero, Endpoint, FileName, OrNone, Size, Valkey, resolve
from policy.scalars import size_or_none
from policy.section import Problems, Section


class Quarantine(Section):
    """What was kept back. `directory` is needed once an ACL says `quarantine: true`."""

    directory: OrNone[FileName] = None
    max_age: Duration = 30 * 86400.0
    max_size: Size = 10 * 2**30
    on_full: Literal["refuse", "drop-oldest"] = "refuse"


class Spool(Section):
    """Objects under way. `directory` None is the system's temp."""

    directory: OrNone[FileName] = None
    memory: Size = 2**20
    max_object: Size = 2**30
    max_total: Size = 8 * 2**30

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        sizes = {key: size_or_none(raw.get(key, default)) for key, default in _SPOOL_SIZES.items()}
        most, total = sizes["max-object"], sizes["max-total"]
        if most is not None and total is not None and most > total:
            key = "max-object" if "max-object" in raw else "max-total"
            yield (key,), "max-object is more than max-total; no object of that size could be kept"


_SPOOL_SIZES = {"max-object": 2**30, "max-total": 8 * 2**30}


class Cache(Section):
    """Verdicts remembered by content. A duration of 0 remembers nothing."""

    free: DurationOrZero = 600.0
    found: DurationOrZero = 86400.0
    entries: Count = 100_000
    valkey: OrNone[Valkey] = None


def _audit_target(value: object, info: ValidationInfo) -> object:
    return value if value in ("stdout", "stderr", "syslog") else resolve(value, info)


class Audit(Section):
    """Where the audit record goes. None: standard output, under mitmdump standard error."""

    to: Annotated[
        Literal["stdout", "stderr", "syslog"] | Path | None,
        BeforeValidator(_audit_target),
        WithJsonSchema({"type": "string", "description": "stdout, stderr, syslog or a file"}),
    ] = None


class Metrics(Section):
    """Prometheus. None: off."""

    listen: OrNone[Endpoint] = None
