"""The WebSocket side of the scripted origin: accepts, with permessage-deflate where offered, and echoes.

Rules of this file: every message that arrived whole is kept in the exchange's request body, and sent back.
"""

from __future__ import annotations

import asyncio

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.fakes.origin_script import Exchange


async def echo(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> None:
    """Answer the handshake `head` and echo messages until the peer closes or goes."""
    socket = WSConnection(ConnectionType.SERVER)
    socket.receive_data(head)
    while True:
        for event in socket.events():
            for reply in _replies(event, exchange):
                writer.write(socket.send(reply))
            if isinstance(event, CloseConnection):
                exchange.ended = "whole"
                return
        data = await reader.read(65536)
        if not data:
            exchange.ended = "gone"
            return
        socket.receive_data(data)


def _replies(event: Event, exchange: Exchange) -> list[Event]:
    match event:
        case Request():
            return [AcceptConnection(extensions=[PerMessageDeflate()])]
        case TextMessage() | BytesMessage():
            data = event.data
            exchange.request.body += data.encode() if isinstance(data, str) else data
            return [type(event)(data=data, message_finished=event.message_finished)]
        case Ping() | CloseConnection():
            return [event.response()]
        case _:
            return []
