"""A client of Chromium's DevTools protocol: commands out, replies and events in, over one WebSocket.

Rules of this file: one command at a time; every wait is bounded and names what did not come; events are kept in
the order in which they came until somebody takes them.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Ping, Request, TextMessage

Message = dict[str, Any]

_WITHIN = 15.0  # the longest wait for a reply or an event, seconds


class DevTools:
    """The connection to a browser; `session` in calls is that of a page, None for the browser's own commands."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port), _WITHIN)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        self._last = 0
        self._replies: dict[int, Message] = {}
        self.events: list[Message] = []
        self._accepted = False
        self._socket.sendall(self._ws.send(Request(host=place.netloc, target=place.path)))
        self._read_until(lambda: self._accepted, "the browser's handshake")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(self, method: str, session: str | None = None, **params: object) -> Message:
        """The command's result; AssertionError with the browser's words where it fails."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        self._socket.sendall(self._ws.send(TextMessage(json.dumps(command))))
        reply = self._read_until(lambda: self._replies.pop(self._last, None), f"reply to {method}")
        assert "error" not in reply, f"{method}: {reply['error']}"
        result: Message = reply["result"]
        return result

    def wait_for(self, method: str, which: Callable[[Message], bool] = lambda params: True) -> Message:
        """Take the first event of that name whose parameters `which` likes, waited for; its parameters."""
        return self._read_until(lambda: self._take(method, which), f"event {method}")

    def _take(self, method: str, which: Callable[[Message], bool]) -> Message | None:
        for event in self.events:
            if event["method"] == method and which(event["params"]):
                self.events.remove(event)
                params: Message = event["params"]
                return params
        return None

    def _read_until[T](self, look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + _WITHIN
        while not (found := look()):
            left = deadline - time.monotonic()
            try:
                self._socket.settimeout(max(left, 0.001))
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"no {what} in {_WITHIN:g} s; last events: {self.events[-5:]}") from None
            assert data, f"the browser hung up; no {what}"
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._receive(event)
        return found

    def _receive(self, event: object) -> None:
        match event:
            case AcceptConnection():
                self._accepted = True
            case Ping():
                self._socket.sendall(self._ws.send(event.response()))
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    message, self._text = json.loads(self._text), ""
                    if "id" in message:
                        self._replies[message["id"]] = message
                    else:
                        self.events.append(message)
