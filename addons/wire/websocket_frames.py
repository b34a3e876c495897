"""mitmproxy's WebSocket layer with bounds, and with an eye on the frames that carry no message.

Rules of this file: whatever long payload leaves, in a ping, a pong or a close, was judged like a message; what is held
of a message, and of all that have passed, is bounded; `addons.wire.guarded_stream` denies what nobody judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.websocket import WebSocketMessage
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.frame_protocol import Opcode

from addons.wire.exchange import exchange_of

MAX_MESSAGE = 64 * 1024 * 1024  # of one message, bytes; mitmproxy holds it in memory
MAX_KEPT = 8 * 1024 * 1024  # of messages that have passed, for the user interface, bytes
SHORT = 64  # a control frame's payload that is too short for any object, bytes
_SLICE = 8 * 1024  # taken in one step, bytes: compressed, it may become a thousand times as much


class WatchedConnection(websocket.WebsocketConnection):
    """Notes the size of the message that is coming in, and the payload of a control frame."""

    def __init__(self, *args: Any, conn: Connection, **more: Any) -> None:  # noqa: ANN401 - handed on as they come
        super().__init__(*args, conn=conn, **more)
        self.growing = 0
        self.control = b""
        self._parts: list[Any] = []  # of a frame: mitmproxy would copy all of it for each

    def events(self) -> Iterator[Event]:
        """wsproto's own, frame by frame. A message beyond MAX_MESSAGE ends them."""
        for event in super().events():
            if not isinstance(event, Message):
                self.control = _payload_of(event)
                yield event
                continue
            self.growing += len(event.data)
            if self.growing > MAX_MESSAGE:
                return
            self._parts.append(event.data)
            if event.frame_finished:
                yield self._join(event)

    def _join(self, event: Message[Any]) -> Message[Any]:
        data = self._parts[0][:0].join(self._parts)
        self._parts.clear()
        if event.message_finished:
            self.growing = 0
        return replace(event, data=data)


class WatchedWebsocket(websocket.WebsocketLayer):
    """Takes the place of mitmproxy's, see `install`."""

    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context, flow)
        self._kept = 0  # bytes, in messages from `_emptied` up to `_counted`
        self._counted = 0
        self._emptied = 0

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """mitmproxy's own, in small steps."""
        exchange = exchange_of(self.flow)
        for part in _slices(event):
            if exchange.broken or self._handle_event == self.done:
                return
            yield from self._relay(part)
            if max(self.client_ws.growing, self.server_ws.growing) > MAX_MESSAGE:
                exchange.broken = True
            self._forget()

    def _relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        for command in super().relay_messages(event):
            for peer in (self.client_ws, self.server_ws):
                if isinstance(command, commands.SendData) and (payload := peer.control):
                    peer.control = b""
                    yield from self._have_judged(payload, from_client=peer is self.client_ws)
            yield command

    def _have_judged(self, payload: bytes, *, from_client: bool) -> layer.CommandGenerator[None]:
        """As a message of its own, which shows in the user interface, too."""
        if self.flow.websocket is not None:
            self.flow.websocket.messages.append(WebSocketMessage(Opcode.BINARY, from_client, payload))
            yield websocket.WebsocketMessageHook(self.flow)

    def _forget(self) -> None:
        """Of a connection without end the oldest messages lose their content."""
        messages = self.flow.websocket.messages if self.flow.websocket else []
        self._kept += sum(len(message.content) for message in messages[self._counted :])
        self._counted = len(messages)
        while self._kept > MAX_KEPT:
            self._kept -= len(messages[self._emptied].content)
            messages[self._emptied].content = b""
            self._emptied += 1


def _slices(event: events.Event) -> Iterator[events.Event]:
    if not isinstance(event, events.DataReceived) or len(event.data) <= _SLICE:
        yield event
        return
    for start in range(0, len(event.data), _SLICE):
        yield events.DataReceived(event.connection, event.data[start : start + _SLICE])


def _payload_of(event: Event) -> bytes:
    payload = b""
    if isinstance(event, Ping | Pong):
        payload = bytes(event.payload)
    elif isinstance(event, CloseConnection):
        payload = (event.reason or "").encode()
    return payload if len(payload) > SHORT else b""


def install() -> None:
    """Let mitmproxy's streams use it from now on; both names are looked up when a WebSocket begins."""
    websocket.WebsocketConnection = WatchedConnection  # type: ignore[misc]  # this replacement is the whole point
    websocket.WebsocketLayer = WatchedWebsocket  # type: ignore[misc]  # as above
