"""One client's connection: what is under way on it, and how long it may keep us waiting.

Rules of this file: one timer a connection, which looks at most once in `limits.header`, and none a byte or a request;
while an exchange is under way the clocks stand, for then `limits.stall` and the engines' time-outs count; whoever is
cut is cut at once, unread bytes or not.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client
from mitmproxy.proxy.layer import Layer

from addons.wire.receiver import Receiver
from policy.model.gateway import Limits

logger = logging.getLogger(__name__)


class Visit:
    """From the client's connecting until it is left. `limits.header` bounds the wait for the first request's headers,
    TLS included, and from its first byte on for those of each further one; `limits.idle` what lies between."""

    def __init__(self, receiver: Receiver, limits: Limits, name: str = "") -> None:
        self._receiver = receiver
        self._limits = limits
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._streams: set[int] = set()
        self._protocol: Layer | None = None  # of the latest exchange
        self._quiet_since = self._loop.time()
        self._begun = False  # at least one exchange is over, in the tunnel if there is one
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        receiver.listen_anew()
        self._look_in(limits.header)

    # --- what the streams tell

    def begin(self, stream: object, protocol: Layer | None) -> None:
        """A request's headers are complete."""
        self._streams.add(id(stream))
        self._protocol = protocol

    def end(self, stream: object, *, tunnel: bool = False) -> None:
        """An exchange is over; a tunnel was opened, and its first request is waited for as at the beginning."""
        if id(stream) not in self._streams:
            return
        self._streams.discard(id(stream))
        if not self._streams:
            self._begun = not tunnel
            self._quiet_since = self._loop.time()
            self._receiver.listen_anew()

    @property
    def is_busy(self) -> bool:
        """True while somebody waits for something: an exchange, or bytes that a closed HTTP/2 window holds back."""
        h2 = getattr(self._protocol, "h2_conn", None)
        return bool(self._streams) or any(getattr(h2, "stream_buffers", {}).values())

    # --- clocks

    def _look_in(self, seconds: float) -> None:
        if not self._closed:
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        if self.is_busy:
            self._look_in(self._limits.header)
            return
        due, why = self._deadline()
        left = due - self._loop.time()
        if left > 0:
            self._look_in(min(left, self._limits.header))
            return
        logger.info("antivirus: %s is disconnected: %s", self._name, why)
        self._receiver.cut_connection(reset=False)

    def _deadline(self) -> tuple[float, str]:
        limits = self._limits
        since = self._receiver.heard_at if self._begun else self._quiet_since
        if since is not None and self._begun and self._receives_whole_frames:
            since = None  # a ping, a window: no request
            self._receiver.listen_anew()
        idle = self._quiet_since + limits.idle
        if since is None or idle < since + limits.header:
            return idle, f"limits.idle: no request for {limits.idle:g} s"
        return since + limits.header, f"limits.header: no complete headers of a request in {limits.header:g} s"

    @property
    def _receives_whole_frames(self) -> bool:
        """True for HTTP/2 where nothing is half-way: no frame, and no header block in several frames."""
        frames = getattr(getattr(self._protocol, "h2_conn", None), "incoming_buffer", None)
        return frames is not None and not frames._data and not frames._headers_buffer

    # --- ends

    def bow_out(self) -> None:
        """Close in an orderly way: what was written still leaves."""
        self._receiver.close_connection()

    def cut(self) -> None:
        """End the connection by a reset: no client may take it for the end of a body."""
        self._receiver.cut_connection(reset=True)

    def close(self) -> None:
        """The client has left. May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        state = f"{len(self._streams)} under way" if self.is_busy else "quiet"
        return f"Visit({self._name}, {state}{', closed' if self._closed else ''})"


_visits: WeakKeyDictionary[Client, Visit] = WeakKeyDictionary()


def enter_visit(client: Client, receiver: Receiver, limits: Limits) -> Visit:
    """Begin a client's visit, which `leave_visit` ends."""
    name = f"{client.peername[0]}:{client.peername[1]}" if client.peername else client.id
    _visits[client] = visit = Visit(receiver, limits, name)
    return visit


def visit_of(client: Client) -> Visit | None:
    """The visit of a client that is there; None for one that is not, as in a replay."""
    return _visits.get(client)


def visits() -> list[Visit]:
    """Everybody who is there."""
    return list(_visits.values())


def leave_visit(client: Client) -> None:
    """The client has left. May be called twice."""
    if (visit := _visits.pop(client, None)) is not None:
        visit.close()
