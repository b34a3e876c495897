"""The end of a client's connections, where mitmproxy would leave a socket open.

Rules of this file: when a client is gone mitmproxy cancels what still talks to servers; a server connection that is
closing already would be cancelled in the middle of that, and its socket would stay open for good. So it gets its turn
first.
"""

from __future__ import annotations

import asyncio

from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.proxy.server import ConnectionHandler

_TURNS = 100


async def let_closings_end(handler: ConnectionHandler, client: Client) -> None:
    """Give the event loop a few turns, until no server connection of this client is half-way through its close; what
    is still there then was cancelled at the door of another event, and nobody else will close it."""
    for _ in range(_TURNS):
        if not any(c is not client and c.state is ConnectionState.CLOSED for c in handler.transports):
            return
        await asyncio.sleep(0)
    for connection, peer in handler.transports.items():
        if connection is not client and connection.state is ConnectionState.CLOSED and peer.writer is not None:
            peer.writer.close()


def close_left_open(handler: ConnectionHandler, server: Server) -> None:
    """Its task has ended. One that was cancelled amid an event, as behind a client that took back thousands of
    requests and left, has not closed its socket, and nobody else will."""
    left = handler.transports.get(server)
    if left is not None and left.writer is not None:
        left.writer.close()
