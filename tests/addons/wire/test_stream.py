"""The stream, in conversations with a client and a server, without sockets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.proxy.layers import http as http_layer

from addons.body.transfer import Transfer
from addons.description import announced_length
from addons.wire.exchange import Clearance, exchange_of
from addons.wire.stream import AvHttpStream, install
from policy.verdict import Status
from tests.addons.bodies import GZIP, PLAIN, STACK, TRICKLE, Bench, acl, settle
from tests.addons.playbook import Playbook

GET = b"GET http://origin/a HTTP/1.1\r\nHost: origin\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_layer, "HttpStream", AvHttpStream)


class Gateway:
    """Classifies as the addon does, with a bench's engine."""

    def __init__(self, bench: Bench, coding: Any = PLAIN) -> None:
        self.bench, self.coding = bench, coding
        self.transfers: list[Transfer] = []
        self.flows: list[http.HTTPFlow] = []

    def _open(self, headers: http.Headers, *, upload: bool) -> Transfer:
        transfer = self.bench.make(self.coding, length=announced_length(headers), upload=upload)
        transfer.receiver.bind_stream = lambda *args: None  # type: ignore[method-assign]  # no wire here
        self.transfers.append(transfer)
        return transfer

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.flows.append(flow)
        exchange_of(flow).request = lambda: self._open(flow.request.headers, upload=True)
        flow.request.stream = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        response = flow.response
        assert response is not None
        if exchange.response is None:
            exchange.response = lambda: self._open(response.headers, upload=False)
        response.stream = True

    @property
    def hooks(self) -> dict[str, Callable[..., Any]]:
        return {"requestheaders": self.requestheaders, "responseheaders": self.responseheaders}


def play(bench: Bench | None = None, coding: Any = PLAIN, **more: Any) -> tuple[Playbook, Gateway]:
    gateway = Gateway(bench or Bench(), coding)
    return Playbook({**gateway.hooks, **more}), gateway


async def test_a_checked_body_arrives_as_it_was() -> None:
    """A clean body of any framing reaches an HTTP/1.1 client whole, and the connection goes on."""
    for head, body in ((LENGTH % 5, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")):
        book, gateway = play()
        gateway.bench.engine.say(Status.FREE)
        book.from_client(GET)
        book.from_server(head + body)
        await book.pump()
        assert book.to_client.endswith(b"\r\n\r\nhello") or book.to_client.endswith(b"5\r\nhello\r\n0\r\n\r\n")
        assert book.client not in book.closed
        await settle()
        assert gateway.bench.room.used == 0


@pytest.mark.parametrize("head", [LENGTH % 5, CLOSE])
async def test_a_found_body_is_a_page(head: bytes) -> None:
    """The client gets 403 and no byte of the body, before the server has said all."""
    book, _ = play(Bench(acl(), most=2))
    book.from_client(GET)
    book.from_server(head + b"hell")
    await book.pump()
    assert book.to_client.startswith(b"HTTP/1.1 403")
    assert b"hell" not in book.to_client
    assert book.server in book.closed


async def test_without_an_addon_no_body_passes() -> None:
    """Where no hook has classified a body, neither streamed nor buffered bytes of it leave, up or down."""
    for stream in (False, True):

        def force(flow: http.HTTPFlow, stream: bool = stream) -> None:
            assert flow.response is not None
            flow.response.stream = stream

        book = Playbook({"responseheaders": force})
        book.from_client(GET)
        book.from_server(LENGTH % 5 + b"EICAR")
        assert b"EICAR" not in book.to_client
        assert book.to_client.startswith(b"HTTP/1.1 502")
        book = Playbook({"requestheaders": lambda flow, stream=stream: setattr(flow.request, "stream", stream)})
        book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nEICAR")
        assert all(b"EICAR" not in data for data in book.out.values())


async def test_without_a_pump_a_body_is_stopped() -> None:
    """A transfer whose pump nobody answers ends in a failure that the client sees, and is given back."""
    book, gateway = play()
    gateway.bench.engine.say(Status.FREE)
    book.from_client(GET)
    book.from_server(LENGTH % 5 + b"hello")
    await book.pump(answer=False)
    await settle()
    assert b"hello" not in book.to_client
    assert book.client in book.closed
    assert gateway.bench.room.used == 0


async def test_a_plan_that_fails_is_a_denial() -> None:
    """A classification that raises lets nothing through."""

    def plan() -> Transfer:
        raise RuntimeError("broken on purpose")

    def responseheaders(flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        exchange_of(flow).response = plan
        flow.response.stream = True

    book, _ = play(responseheaders=responseheaders)
    book.from_client(GET)
    book.from_server(LENGTH % 5 + b"EICAR")
    assert b"EICAR" not in book.to_client


async def test_an_addon_that_asks_for_buffering_gets_a_transfer() -> None:
    """A body that another addon wants whole in memory goes through the check like any other."""
    gateway = Gateway(Bench())

    def requestheaders(flow: http.HTTPFlow) -> None:
        gateway.requestheaders(flow)
        flow.request.stream = False

    def responseheaders(flow: http.HTTPFlow) -> None:
        gateway.responseheaders(flow)
        assert flow.response is not None
        flow.response.stream = False

    gateway.bench.engine.say(Status.FREE)
    book = Playbook({"requestheaders": requestheaders, "responseheaders": responseheaders})
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")
    await book.pump()
    book.from_server(LENGTH % 5 + b"hello")
    await book.pump()
    assert book.to_server.endswith(b"abcde")
    assert book.to_client.endswith(b"hello")
    assert [t.upload for t in gateway.transfers] == [True, False]


async def test_a_replayed_flow_is_checked_anew() -> None:
    """What was cleared once says nothing of what a replay brings."""
    book, gateway = play()
    gateway.bench.engine.say(Status.FREE)
    book.from_client(GET)
    book.from_server(LENGTH % 5 + b"hello")
    await book.pump()
    flow = gateway.flows[0]
    assert exchange_of(flow).response is Clearance.CHECKED
    stream = AvHttpStream.__new__(AvHttpStream)
    stream.flow, stream.client_state = flow, lambda event: iter(())
    list(stream._handle_event(http_layer.RequestHeaders(1, flow.request, True, replay_flow=flow)))
    assert exchange_of(flow).response is None


async def test_an_upload_waits_for_its_verdict() -> None:
    """No server is asked before; a clean upload then arrives whole and framed by its length."""
    book, gateway = play()
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    await book.pump()
    assert book.servers == []
    gateway.bench.engine.say(Status.FREE)
    await book.pump()
    assert b"content-length: 5" in book.to_server.lower()
    assert book.to_server.endswith(b"\r\n\r\nhello")


async def test_a_refused_upload_leaves_the_connection_usable() -> None:
    """The page comes before the client has sent all, what it still sends is forgotten, and its next request works."""
    book, gateway = play(Bench(acl(), most=5))
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 20\r\n\r\n" + b"x" * 5)
    await book.pump()
    book.from_client(b"y" * 5)
    assert book.to_client.startswith(b"HTTP/1.1 403")
    book.from_client(b"y" * 10)
    assert book.servers == []
    gateway.bench.engine.say(Status.FREE)
    book.from_client(GET)
    book.from_server(LENGTH % 2 + b"ok")
    await book.pump()
    assert book.to_client.endswith(b"\r\n\r\nok")


async def test_an_upload_keeps_its_order() -> None:
    """Past every limit an upload streams on; what waits goes first, also when more arrives while it connects."""
    book, _ = play(Bench(acl(accept_antivirus_status="skipped"), most=5))
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 30\r\n\r\n" + b"0" * 10)
    book.from_client(b"1" * 5)
    await book.pump()
    book.from_client(b"2" * 5)
    await book.pump()
    book.from_client(b"3" * 10)
    await book.pump()
    assert book.to_server.endswith(b"\r\n\r\n" + b"0" * 10 + b"1" * 5 + b"2" * 5 + b"3" * 10)
    book.from_server(LENGTH % 2 + b"ok")


async def test_an_upload_that_changes_its_form_is_framed_anew() -> None:
    """A stack of codings goes on as identity, with the length that it has then."""
    book, gateway = play(coding=STACK)
    gateway.bench.engine.say(Status.FREE)
    data = b"z" * 300_000
    packed = gzip.compress(gzip.compress(data))
    head = b"POST http://origin/ HTTP/1.1\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n"
    book.from_client(head % len(packed) + packed)
    for _ in range(20):
        await book.pump()
    sent_head, _, body = book.to_server.partition(b"\r\n\r\n")
    assert body == data
    assert b"content-encoding" not in sent_head.lower()
    assert b"content-length: 300000" in sent_head.lower()


async def test_a_server_that_cannot_be_reached_is_a_502() -> None:
    """An upload that passed and finds no server gives everything back."""
    gateway = Gateway(Bench(acl(accept_antivirus_status="skipped"), most=5))
    book = Playbook(gateway.hooks, refuse_servers="no route")
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 30\r\n\r\n" + b"0" * 10)
    await book.pump()
    await settle()
    assert book.to_client.startswith(b"HTTP/1.1 502")
    assert gateway.bench.room.used == 0
    assert book.pumps == []


async def test_a_client_that_leaves_ends_the_check() -> None:
    """In the middle of an upload or of a download everything is given back, and nothing is done twice."""
    book, gateway = play()
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 30\r\n\r\n" + b"0" * 10)
    book.close(book.client)
    await book.pump()
    await settle()
    assert gateway.bench.room.used == 0
    assert book.names.count("error") == 1
    book, gateway = play()
    book.from_client(GET)
    book.from_server(LENGTH % 50 + b"part")
    book.close(book.client)
    await book.pump()
    await settle()
    assert gateway.bench.room.used == 0
    assert book.server in book.closed


async def test_a_server_that_breaks_off_is_a_502() -> None:
    """Nothing had left, so the client gets a proper error."""
    book, gateway = play()
    book.from_client(GET)
    book.from_server(LENGTH % 50 + b"part")
    book.close(book.server)
    await book.pump()
    await settle()
    assert book.to_client.startswith(b"HTTP/1.1 502")
    assert gateway.bench.room.used == 0


@pytest.mark.looptime
async def test_a_transfer_closed_by_the_gateway_fails_for_the_client() -> None:
    """A shutdown in the middle cuts: the client sees a failure and no further byte, also of a step under way."""
    import asyncio

    book, gateway = play(Bench(acl(**TRICKLE)))
    book.from_client(GET)
    book.from_server(LENGTH % 5000 + b"b" * 100)
    await asyncio.sleep(5.5)
    task = asyncio.get_running_loop().create_task(gateway.transfers[0].next_step())
    await settle()
    book.pumps[0].pump.step = task.result()
    gateway.transfers[0].close()
    book._complete(book.pumps[0], book.pumps[0].pump)
    await book.pump()
    assert b"bbb" not in book.to_client
    assert book.client in book.closed
    assert book.pumps == []


async def test_a_body_where_there_is_none_is_denied() -> None:
    """Bytes behind a 204 of an HTTP/2 server do not become the client's next response."""
    book, gateway = play()
    gateway.bench.engine.say(Status.FREE)
    book.from_client(GET)
    response = http.Response.make(204)
    response.data.content = None
    book.to_stream(http_layer.ResponseHeaders(1, response, False))
    book.to_stream(http_layer.ResponseData(1, b"HTTP/1.1 200 OK"))
    await book.pump()
    assert book.to_client.startswith(b"HTTP/1.1 502")
    assert b"200 OK" not in book.to_client
    await settle()
    assert gateway.bench.room.used == 0


async def test_trailers_do_not_break_http_1() -> None:
    """Trailers of an HTTP/2 server are dropped towards a client that mitmproxy cannot send them to."""
    book, gateway = play()
    gateway.bench.engine.say(Status.FREE)
    book.from_client(GET)
    response = http.Response.make(200)
    response.data.content = None
    book.to_stream(http_layer.ResponseHeaders(1, response, False))
    book.to_stream(http_layer.ResponseData(1, b"grpc"))
    book.to_stream(http_layer.ResponseTrailers(1, http.Headers(((b"grpc-status", b"0"),))))
    book.to_stream(http_layer.ResponseEndOfMessage(1))
    await book.pump()
    assert b"grpc" in book.to_client
    assert b"grpc-status" not in book.to_client


@pytest.mark.parametrize(("cleared", "arrives"), [(Clearance.OURS, True), (None, False)])
async def test_an_answer_of_another_addon_needs_no_server(cleared: Clearance | None, arrives: bool) -> None:
    """A response that is set in requestheaders answers an upload at once; unchecked it does not pass."""

    def requestheaders(flow: http.HTTPFlow) -> None:
        flow.response = http.Response.make(200, b"made here")
        exchange_of(flow).response = cleared
        flow.request.stream = True

    book = Playbook({"requestheaders": requestheaders})
    book.from_client(b"POST http://origin/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
    book.from_client(b"lo")
    assert book.to_client.endswith(b"made here") is arrives
    assert book.servers == []


@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: x\r\n", b"Upgrade: websocket\r\n"])
async def test_a_101_that_nobody_asked_for_ends_here(upgrade: bytes) -> None:
    """No tunnel is opened without a WebSocket on both sides."""
    book, _ = play()
    book.from_client(GET)
    book.from_server(b"HTTP/1.1 101 Go\r\n" + upgrade + b"\r\nraw bytes")
    assert b"raw" not in book.to_client
    assert book.to_client.startswith(b"HTTP/1.1 502")


async def test_http_1_0_gets_a_reset() -> None:
    """A client that takes the close for the end is reset where a body is cut."""
    book, gateway = play(Bench(acl(accept_antivirus_status="skipped"), most=20), STACK)
    resets: list[bool] = []
    gateway.bench.peer.reset_on_close = lambda: resets.append(True)  # type: ignore[attr-defined]
    book.from_client(b"GET http://origin/a HTTP/1.0\r\nHost: origin\r\n\r\n")
    packed = gzip.compress(gzip.compress(b"d" * 100))
    book.from_server(CLOSE + packed[:-4])
    await book.pump()
    assert b"ddd" in book.to_client
    book.close(book.server)
    await book.pump()
    assert resets
    assert book.client in book.closed


def test_install_puts_our_stream_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """mitmproxy makes our streams from then on."""
    monkeypatch.setattr(http_layer, "HttpStream", object)
    install()
    assert http_layer.HttpStream is AvHttpStream


async def test_gzip_leaves_as_it_came() -> None:
    """One plain coding reaches the client as the origin sent it."""
    book, gateway = play(coding=GZIP)
    gateway.bench.engine.say(Status.FREE)
    packed = gzip.compress(b"hello")
    book.from_client(GET)
    book.from_server(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    await book.pump()
    assert book.to_client.endswith(packed)
    assert gateway.bench.engine.seen == [b"hello"]
