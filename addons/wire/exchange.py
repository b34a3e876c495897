"""What is known of one flow: which of its two bodies may leave, and by whose word.

Rules of this file: no entry means that nobody classified the body, and then it does not pass; an entry is kept
beside the flow and not in it, so that nothing of it is saved, replayed or believed from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mitmproxy import flow

from addons.body.ranges import Wanted
from addons.wire.throttle import Throttle

if TYPE_CHECKING:
    from addons.body.transfer import Transfer


class Clearance(StrEnum):
    """Why a body may pass without going through a transfer."""

    CHECKED = "checked"  # a transfer ended well
    UNCHECKED = "unchecked"  # the policy passes it by name
    OURS = "ours"  # a page of our own


# How a body will be classified, asked once and only where a body really follows the headers.
type Plan = Callable[[], Transfer | Clearance]


@dataclass(slots=True)
class Exchange:
    """The two bodies of one flow. A transfer that is under way lets bytes out step by step only.

    `wanted` is the piece that the client asked for. `messages` counts the messages of a WebSocket that were judged;
    `broken` ends it. `throttle` makes what holds the sender back where a body (True: an upload) streams past."""

    request: Transfer | Clearance | Plan | None = None
    response: Transfer | Clearance | Plan | None = None
    wanted: Wanted | None = None
    throttle: Callable[[bool], Throttle] | None = None
    messages: int = 0
    broken: bool = False


_exchanges: WeakKeyDictionary[flow.Flow, Exchange] = WeakKeyDictionary()


def exchange_of(a_flow: flow.Flow) -> Exchange:
    """The flow's exchange, made empty at the first call."""
    exchange = _exchanges.get(a_flow)
    if exchange is None:
        exchange = _exchanges[a_flow] = Exchange()
    return exchange


def forget_exchange(a_flow: flow.Flow) -> None:
    """A flow that is replayed begins anew: what was cleared is not what comes now."""
    _exchanges.pop(a_flow, None)
