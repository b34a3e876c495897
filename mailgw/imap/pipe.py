"""Octets both ways, untouched: where the policy says that no mail is scanned.

Rules of this file: no slower peer is overrun; one end closed closes the other.
"""

from __future__ import annotations

import asyncio

from mailgw.channel import Channel, PeerGone, PeerSilent


async def pipe(client: Channel, server: Channel, idle: float, stall: float) -> None:
    """Until one of them closes, or nothing passes for `idle` seconds. Raises PeerSilent, PeerGone."""
    loop = asyncio.get_running_loop()
    ways = [loop.create_task(_pass(client, server, idle, stall)), loop.create_task(_pass(server, client, idle, stall))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            if way.done():
                way.result()
        # What the other one has sent already is delivered: a LOGOUT's answer comes with the end.
        for source, target in ((client, server), (server, client)):
            _move(source, target)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass(source: Channel, target: Channel, idle: float, stall: float) -> None:
    while True:
        _move(source, target)
        await target.drain(stall)
        try:
            if not await source.more(idle) and not source.inbox:
                return
        except PeerSilent:
            if target.lost:
                raise PeerGone("the peer has gone") from None
            raise


def _move(source: Channel, target: Channel) -> None:
    if source.inbox:
        target.write(bytes(source.inbox))
        source.inbox.clear()
