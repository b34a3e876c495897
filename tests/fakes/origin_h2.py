"""The HTTP/2 side of the scripted origin, on hyper-h2.

Rules of this file: one task reads the connection, one task plays each stream; flow control is obeyed; a `Cut`
is a reset of the stream, a `Reset` of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from tests.fakes.origin_script import Break, Exchange, Fill, Framing, Reply, Request, Wait, play_fill

if TYPE_CHECKING:
    from tests.fakes.origin import Origin


class Conversation:
    """One HTTP/2 connection from its preface to its end."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._origin = origin
        self._reader = reader
        self._writer = writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        self._h2 = h2.connection.H2Connection(config)
        self._open: dict[int, Exchange] = {}
        self._players: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()  # set at every event that could have opened a window

    async def run(self) -> None:
        """Converse until the peer closes."""
        self._h2.initiate_connection()
        self._flush()
        async with asyncio.TaskGroup() as players:
            with contextlib.suppress(ConnectionError):
                while data := await self._reader.read(65536):
                    for event in self._h2.receive_data(data):
                        self._handle(event, players)
                    self._flush()
                    self._room.set()
            for player in self._players.values():
                player.cancel()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    def _handle(self, event: h2.events.Event, players: asyncio.TaskGroup) -> None:
        match event:
            case h2.events.RequestReceived():
                assert event.stream_id is not None
                self._open[event.stream_id] = self._origin.begin(_request(event))
            case h2.events.DataReceived():
                assert event.stream_id is not None
                self._open[event.stream_id].request.body += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            case h2.events.StreamEnded():
                assert event.stream_id is not None
                self._open[event.stream_id].request.complete = True
                player = players.create_task(self._play_safely(event.stream_id))
                self._players[event.stream_id] = player
            case h2.events.StreamReset():
                assert event.stream_id is not None
                self._open[event.stream_id].ended = "gone"
                if event.stream_id in self._players:
                    self._players[event.stream_id].cancel()

    async def _play_safely(self, stream: int) -> None:
        # The peer may reset the stream or close between two steps: that ends this player and nothing else.
        with contextlib.suppress(h2.exceptions.ProtocolError, ConnectionError):
            await self._play(stream)

    async def _play(self, stream: int) -> None:
        exchange = self._open[stream]
        reply = self._origin.answer(exchange.request)
        bodyless = exchange.request.method == "HEAD" or reply.framing is Framing.NONE or not reply.steps
        self._h2.send_headers(stream, _headers(reply), end_stream=bodyless)
        self._flush()
        if bodyless:
            exchange.ended = "whole"
            return
        for step in reply.steps:
            match step:
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Break():
                    return await self._break_off(stream, step, exchange)
                case _:
                    for piece in play_fill(step.size) if isinstance(step, Fill) else (step,):
                        await self._send(stream, piece, exchange)
        self._h2.end_stream(stream)
        self._flush()
        exchange.ended = "whole"

    async def _send(self, stream: int, piece: bytes, exchange: Exchange) -> None:
        so_far = exchange.sent[-1][1] if exchange.sent else 0
        exchange.sent.append((time.monotonic(), so_far + len(piece)))
        view = memoryview(piece)
        while view:
            while not (room := self._h2.local_flow_control_window(stream)):
                self._room.clear()
                await self._room.wait()
            size = min(room, self._h2.max_outbound_frame_size, len(view))
            self._h2.send_data(stream, bytes(view[:size]))
            view = view[size:]
            self._flush()
        await self._writer.drain()

    async def _break_off(self, stream: int, how: Break, exchange: Exchange) -> None:
        exchange.ended = how.value
        if how is Break.CUT:
            self._h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self._flush()
        elif how is Break.RESET:
            self._writer.transport.abort()
        else:
            await asyncio.Event().wait()  # until the stream is reset or the connection ends


def _request(event: h2.events.RequestReceived) -> Request:
    headers = [(str(name), str(value)) for name, value in event.headers or ()]
    pseudo = dict(h for h in headers if h[0].startswith(":"))
    plain = [h for h in headers if not h[0].startswith(":")]
    return Request(pseudo[":method"], pseudo.get(":path", ""), "HTTP/2", plain)


def _headers(reply: Reply) -> list[tuple[str, str]]:
    headers = [(":status", str(reply.status)), *((n.lower(), v) for n, v in reply.headers)]
    if reply.framing is Framing.LENGTH:
        headers.append(("content-length", str(reply.size if reply.length is None else reply.length)))
    return headers
