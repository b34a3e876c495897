"""One object that was sent through a gateway: what the policy has in mind for it, and what became of it.

Rules of this file: data; what nobody could send is told with its reason and is never a pass; a reply decides only where
it is the gateway's own, else the object's arrival does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of an object. `replaced` is only ever expected: a sender sees it delivered."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    DEFERRED = "deferred"
    DISCARDED = "discarded"
    REPLACED = "replaced"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """`gateway` is a label, `what` the object in words; `by` the ACL that the policy decides by; `ms` to the answer;
    `said` is the answer, or why nothing was tried."""

    gateway: str
    address: str
    what: str
    infected: bool = False
    expected: Fate | None = None
    by: str | None = None
    fate: Fate
    ms: float = 0.0
    said: str = ""

    @property
    def leaked(self) -> bool:
        """Whether EICAR went through."""
        return self.infected and self.fate is Fate.DELIVERED and self.expected is not Fate.REPLACED

    @property
    def well(self) -> bool:
        """Whether the gateway did what it should; also where nothing was tried."""
        if self.fate is Fate.NOT_TRIED:
            return True
        if self.fate is Fate.FAILED or self.leaked:
            return False
        if self.infected:
            return self.fate is not Fate.DEFERRED or self.expected is Fate.DEFERRED
        return self.fate is self.expected or (self.fate is Fate.DELIVERED and self.expected is Fate.REPLACED)

    @property
    def proves_nothing(self) -> bool:
        """Whether the policy refuses the clean one as well."""
        return not self.infected and self.expected not in (None, Fate.DELIVERED) and self.fate is self.expected

    def as_plain(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "ms": round(self.ms, 3), "leaked": self.leaked, "well": self.well}
