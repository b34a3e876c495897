"""What can be told of a transfer or mail that has not ended, for whoever looks on.

Rules of this file: plain facts at one moment; nothing of the content, no query strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from inspection.record import cut_text, without_query

type Phase = Literal["receiving", "checking", "trickling", "sending"]

MOST = 10_000  # of them are told


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """`received` and `sent` in bytes, `age` in seconds; `object` a URL, a path or a sender."""

    id: str
    client: str | None
    object: str | None
    direction: str | None
    received: int
    sent: int
    phase: Phase
    age: float


@runtime_checkable
class Telling(Protocol):
    """Something under way that can say what it is doing. Offered by what enters a checkpoint, if it likes."""

    def tell(self) -> UnderWay:
        """At this moment; quick."""


def tell_all(proxy: str, works: Iterable[object]) -> list[dict[str, Any]]:
    """One plain mapping each, of those that can tell."""
    told = (work.tell() for work in works if isinstance(work, Telling))
    return [_spell(proxy, one) for one, _ in zip(told, range(MOST), strict=False)]


def _spell(proxy: str, one: UnderWay) -> dict[str, Any]:
    values = {name: cut_text(value) for name, value in asdict(one).items()}
    if one.object is not None:
        values["object"] = cut_text(without_query(one.object))
    return {"proxy": proxy, **values, "age": round(one.age, 1)}
