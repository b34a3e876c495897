"""WebSocket: passed where it was asked for, and every message is checked, whole or in fragments."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.fakes.origin import Origin
from tests.http import samples
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire import connect

Gateway = Callable[[str], Proxy]


class WebSocketClient:
    """A WebSocket client through the gateway; `received` holds the whole messages that came."""

    def __init__(self, sock: socket.socket, origin: Origin, path: str, *, compressed: bool = True) -> None:
        self._socket = sock
        self._ws = WSConnection(ConnectionType.CLIENT)
        self.received: list[str | bytes] = []
        self.wire = b""
        self.accepted = False
        self._partial: list[str | bytes] = []
        place = f"127.0.0.1:{origin.port}"
        offered = [PerMessageDeflate()] if compressed else []
        hello = self._ws.send(Request(host=place, target=path, extensions=offered))
        # To a proxy the request line carries the whole URL.
        self._socket.sendall(hello.replace(b"GET ", f"GET http://{place}".encode(), 1))

    @property
    def open(self) -> bool:
        """False once either side has closed."""
        return self._ws.state in (ConnectionState.CONNECTING, ConnectionState.OPEN)

    def send(self, *messages: Message) -> None:
        """Send frames; a closed connection swallows them."""
        with contextlib.suppress(ConnectionError):
            for message in messages:
                self._socket.sendall(self._ws.send(message))

    def read_until(self, count: int) -> None:
        """Read until so many messages have come or the connection has ended."""
        while self.open and (len(self.received) < count or not self.accepted):
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            self.wire += data
            self._ws.receive_data(data or None)
            for event in self._ws.events():
                self._take(event)

    def _take(self, event: object) -> None:
        match event:
            case AcceptConnection():
                self.accepted = True
            case TextMessage() | BytesMessage():
                self._partial.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    whole = self._partial[0][:0].join(self._partial)  # type: ignore[arg-type]  # one kind only
                    self.received.append(whole)
                    self._partial = []
            case CloseConnection() | RejectConnection():
                pass


@pytest.fixture
def start(gateway: Gateway, origin: Origin) -> Iterator[Callable[[str], tuple[WebSocketClient, Proxy]]]:
    """Opens a WebSocket to the origin's echo on a path of its own."""
    with contextlib.ExitStack() as stack:

        def opened(path: str, *, compressed: bool = True) -> tuple[WebSocketClient, Proxy]:
            proxy = gateway(checked(builtin()))
            return WebSocketClient(stack.enter_context(connect(proxy, 5)), origin, path, compressed=compressed), proxy

        yield opened


def test_clean_messages_pass_both_ways(start, origin: Origin) -> None:
    """Text, binary, fragmented and large messages are echoed unchanged."""
    client, _ = start("/echo/clean")
    client.read_until(0)
    assert client.accepted
    large = samples.clean("websocket", 300_000)
    client.send(TextMessage("hello"), BytesMessage(b"\x00\x01"), BytesMessage(large))
    client.send(TextMessage("in ", message_finished=False), TextMessage("two"))
    client.read_until(4)
    assert client.received == ["hello", b"\x00\x01", large, "in two"]
    client.send(CloseConnection(1000))


@pytest.mark.parametrize("compressed", [True, False])
def test_a_message_without_end_ends_the_connection(start, origin: Origin, compressed: bool) -> None:
    """What would fill our memory, be it packed or in fragments, is cut, and others are served."""
    client, proxy = start(f"/echo/endless-{compressed}", compressed=compressed)
    client.read_until(0)
    idle = proxy.memory()
    proxy.reset_peak()
    block = bytes(1 << 20)
    client.send(*[BytesMessage(block, message_finished=False)] * 80)
    client.read_until(1)
    assert not client.open
    assert client.received == []
    assert proxy.peak_memory() - idle < 300 << 20
    other, _ = start("/echo/others")
    other.read_until(0)
    other.send(TextMessage("still here"))
    other.read_until(1)
    assert other.received == ["still here"]


@pytest.mark.parametrize("frame", [Ping(samples.EICAR), CloseConnection(1000, reason=samples.EICAR.decode())])
def test_an_infected_control_frame_ends_the_connection(start, origin: Origin, frame) -> None:
    """EICAR in a ping's payload or a close's reason comes back to nobody, and is recorded; a short one passes."""
    path = f"/echo/control-{type(frame).__name__}"
    client, proxy = start(path)
    client.read_until(0)
    client.send(Ping(b"short"), TextMessage("before"))
    client.read_until(1)
    assert client.received == ["before"]
    client.send(frame)
    client.read_until(2)
    proxy.wait_until(lambda: [r for r in proxy.records if r["status"] == "found" and path in r["object"]], "a record")
    assert samples.EICAR not in client.wire


INFECTED = {
    "text": [TextMessage(samples.EICAR.decode())],
    "binary": [BytesMessage(samples.EICAR)],
    "zip": [BytesMessage(samples.zipped())],
    "fragments": [
        BytesMessage(samples.EICAR[:30], message_finished=False),
        BytesMessage(samples.EICAR[30:]),
    ],
}


@pytest.mark.parametrize("kind", INFECTED)
def test_an_infected_message_ends_the_connection(start, origin: Origin, kind: str) -> None:
    """The origin sees nothing of an infected message, earlier ones had passed, and it is recorded."""
    path = f"/echo/bad-{kind}"
    client, proxy = start(path)
    client.send()
    client.read_until(0)
    client.send(TextMessage("before"))
    client.read_until(1)
    client.send(*INFECTED[kind])
    client.read_until(2)
    assert client.received == ["before"]
    assert not client.open
    assert bytes(origin.asked(path)[-1].request.body) == b"before"
    url = origin.url(path)
    proxy.wait_until(
        lambda: [r for r in proxy.records if r["status"] == "found" and path in r["object"]], f"{url} found"
    )
