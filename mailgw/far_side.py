"""The server or next hop behind a mail gateway: the first that greets is spoken to, under TLS where the policy says so.

Rules of this file: no protocol; no silent fall-back from TLS; whatever goes wrong closes the connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mailgw.channel import Channel, StartTlsFault
from policy.address import Address
from policy.model import MailProxy
from policy.model.gateway import ServerTls

logger = logging.getLogger(__name__)


class FarSideGone[Word](ConnectionError):
    """It cannot be reached, has closed, or says what is no answer (remote fault, temporary). `reply` is its last word,
    where it had one. A protocol's own is derived from it."""

    noun: ClassVar[str] = "server"

    def __init__(self, why: str, reply: Word | None = None) -> None:
        super().__init__(why)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Route:
    """Where to, in order, and how. Times in seconds."""

    servers: Sequence[Address]
    mode: str  # server-tls.mode
    context: ssl.SSLContext | None
    connect_within: float
    stall: float


def make_route(proxy: MailProxy) -> Route:
    """What a gateway's section says. Raises OSError, ssl.SSLError for a bad `ca`. Blocks."""
    return Route(
        servers=proxy.server,
        mode=proxy.server_tls.mode,
        context=_make_context(proxy.server_tls),
        connect_within=proxy.limits.header,
        stall=proxy.limits.stall,
    )


def _make_context(tls: ServerTls) -> ssl.SSLContext | None:
    if tls.mode == "none":
        return None
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class FarSide:
    """One connection to one server. `over` once it has ended, or must."""

    def __init__(self, channel: Channel, address: Address, stall: float) -> None:
        self.channel, self.address = channel, address
        self.over = False
        self._stall = stall

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{', over' if self.over else ''}, {self.channel!r}>"

    async def start_tls(self, route: Route) -> None:
        """TLS from here on, once it has agreed. Raises StartTlsFault."""
        if route.context is None:
            raise StartTlsFault("TLS without a context")
        await self.channel.start_tls(
            route.context, server_side=False, within=route.connect_within, hostname=self.address.host or None
        )

    def abort(self) -> None:
        """Close at once: what is half said there counts for nothing."""
        self.over = True
        self.channel.abort()


type Make[S: FarSide] = Callable[[Channel, Address], S]
type Greet[S: FarSide, Greeting] = Callable[[S], Awaitable[Greeting]]


async def open_far_side[S: FarSide, Greeting](
    route: Route, make: Make[S], greet: Greet[S, Greeting], gone: type[FarSideGone[Greeting]]
) -> tuple[S, Greeting]:
    """The first server that `greet` takes, and its greeting. Raises `gone`; its `reply` is then the last refusal that
    one gave."""
    refused: Greeting | None = None
    for address in route.servers:
        try:
            return await _open(address, route, make, greet, gone)
        except gone as fault:
            logger.warning("%s %s: %s", gone.noun, address, fault)
            refused = fault.reply or refused
    raise gone(f"no {gone.noun} can be reached", refused)


async def _open[S: FarSide, Greeting](
    address: Address, route: Route, make: Make[S], greet: Greet[S, Greeting], gone: type[FarSideGone[Greeting]]
) -> tuple[S, Greeting]:
    side: S | None = None
    try:
        async with asyncio.timeout(route.connect_within):
            side = make(await _connect(address, route), address)
            return side, await greet(side)
    except BaseException as error:
        if side is not None:
            side.abort()
        if isinstance(error, OSError) and not isinstance(error, gone):  # time-outs and TLS's faults are OSErrors, too
            raise gone(f"no connection: {error or 'timed out'}") from error
        raise


async def _connect(address: Address, route: Route) -> Channel:
    loop = asyncio.get_running_loop()
    tls = route.context if route.mode == "implicit" else None
    if address.unix is not None:
        return (await loop.create_unix_connection(Channel, address.unix))[1]
    hostname = address.host if tls else None
    return (await loop.create_connection(Channel, address.host, address.port, ssl=tls, server_hostname=hostname))[1]
