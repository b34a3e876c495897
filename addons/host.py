"""Who runs mitmproxy, and what differs by that: the command mitmdump (or mitmweb), or `avsluice run`.

Rules of this file: data only; the defaults are mitmdump's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inspection.host import Witness


@dataclass(frozen=True, slots=True)
class Host:
    """`audit` is where records go where the policy does not say; `witness` is told when the gateway accepts, reloads
    and ends; `listens_by_policy` is False where somebody else chose the address."""

    audit: str = "stderr"  # mitmdump's flow lines own standard output
    witness: Witness = field(default_factory=Witness)
    listens_by_policy: bool = False


MITMDUMP = Host()
