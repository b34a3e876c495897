"""What a WebSocket connection holds, frame by frame."""

from __future__ import annotations

import pytest
from mitmproxy.connection import Server
from wsproto import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from addons.wire import websocket_frames
from addons.wire.websocket_frames import SHORT, WatchedConnection


def watched(*said: Event, step: int = 7) -> tuple[WatchedConnection, list[Event]]:
    """The peer's events as they come out, its bytes arriving in small pieces."""
    sender = Connection(ConnectionType.CLIENT)
    wire = b"".join(sender.send(event) for event in said)
    receiver = WatchedConnection(ConnectionType.SERVER, conn=Server(address=("origin", 80)))
    found: list[Event] = []
    for start in range(0, len(wire), step):
        receiver.receive_data(wire[start : start + step])
        found += receiver.events()
    return receiver, found


def test_a_frame_comes_out_as_a_whole() -> None:
    """Fragments stay as they were sent, however they arrived; text stays text."""
    _, found = watched(TextMessage("a" * 50, message_finished=False), TextMessage("ü" * 50), BytesMessage(b"c" * 300))
    texts = [(event.data, event.message_finished) for event in found]
    assert texts == [("a" * 50, False), ("ü" * 50, True), (b"c" * 300, True)]


def test_a_message_beyond_the_bound_ends_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fragments count together; messages do not."""
    monkeypatch.setattr(websocket_frames, "MAX_MESSAGE", 100)
    _, found = watched(BytesMessage(b"a" * 90), BytesMessage(b"b" * 90))
    assert len(found) == 2
    receiver, found = watched(BytesMessage(b"a" * 60, message_finished=False), BytesMessage(b"b" * 60))
    assert (len(found), receiver.growing > 100) == (1, True)


@pytest.mark.parametrize("make", [lambda text: Ping(text), lambda text: CloseConnection(1000, reason=text.decode())])
def test_a_long_control_payload_is_noted(make) -> None:
    """A short one can hold no object."""
    assert watched(make(b"x" * SHORT))[0].control == b""
    assert watched(make(b"x" * (SHORT + 1)))[0].control == b"x" * (SHORT + 1)
