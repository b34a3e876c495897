"""Who runs mitmproxy, and what differs by that: the command mitmdump (or mitmweb), or `avsluice run`.

Rules of this file: data only; the defaults are mitmdump's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

type Bound = Sequence[tuple[str, int]]
"""Addresses that are listened on: host, port."""


def print_ready(name: str, bound: Bound) -> None:
    """Tell on standard error that a gateway accepts."""
    for host, port in bound:
        print(f"ready {name} {f'[{host}]' if ':' in host else host}:{port}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Host:
    """`audit` is where records go where the policy does not say; `announce` is called once, with the gateway's name;
    `listens_by_policy` is False where somebody else chose the address."""

    audit: str = "stderr"  # mitmdump's flow lines own standard output
    announce: Callable[[str, Bound], None] = print_ready
    listens_by_policy: bool = False


MITMDUMP = Host()
