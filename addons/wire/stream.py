"""The HTTP stream whose bodies go through transfers.

Rules of this file: a transfer's steps arrive as completions of a hook that does not pause the stream, so bodies keep
flowing in while a check runs; no server is asked before an upload's verdict; framing towards the receiver is ours;
nothing here waits; what may leave at all is guarded by `addons.wire.guarded_stream`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from mitmproxy.proxy import events
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    HttpResponseHeadersHook,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseTrailers,
    SendHttp,
)
from mitmproxy.proxy.layers.http._http1 import Http1Connection
from mitmproxy.proxy.layers.http._http2 import Http2Client

from addons.body.ranges import frame_piece
from addons.body.steps import Cut, Fetch, Finish, HandOver, Refuse, Release, Whole
from addons.body.transfer import Transfer
from addons.wire import http1_peers, websocket_frames
from addons.wire.exchange import Clearance, Plan
from addons.wire.framing import frame_for_client, frame_for_server, has_no_body
from addons.wire.guarded_stream import Commands, GuardedStream, Passage
from addons.wire.pump import AvPumpHook, Pump
from addons.wire.throttle import Throttle
from policy.decision import Reason

logger = logging.getLogger(__name__)


class AvHttpStream(GuardedStream):
    """Takes the place of mitmproxy's HttpStream, see `install`."""

    _throttle: Throttle | None = None  # of what streams past
    _headers_sent = False  # of the response
    _connected = False  # the server has the request's headers

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.HookCompleted) and isinstance(event.command, AvPumpHook):
            yield from self._guard(self._carry_out(event.command.pump))
            self._leave_if_over()
        else:
            yield from super()._handle_event(event)

    # --- bodies come in

    def start_response_stream(self) -> Commands:
        """The headers of a response whose body follows: send nothing yet, let the transfer take it in."""
        exchange = self._exchange
        exchange.response = _classify(exchange.response)
        if not isinstance(exchange.response, Transfer):
            yield from super().start_response_stream()
            self._hold_back(upload=False)
            return
        self.server_state = self.state_take_in_response
        yield from self._begin(exchange.response)

    def start_request_stream(self) -> Commands:
        """The headers of an upload: no connection to the server before the verdict."""
        if self.flow.response is not None:  # another addon, or a refused target, has the answer already
            yield from self._answer()
            return
        exchange = self._exchange
        exchange.request = _classify(exchange.request)
        if isinstance(exchange.request, Transfer):
            self.client_state = self.state_take_in_request
            yield from self._begin(exchange.request)
        elif exchange.request is None:
            yield from self._deny("nobody classified this upload")
        else:
            yield from self._connect(None)
            self._stream_on()

    def _begin(self, transfer: Transfer) -> Commands:
        transfer.start()
        yield self._pump(transfer)

    def _pump(self, transfer: Transfer) -> AvPumpHook:
        hook = AvPumpHook(Pump(transfer))
        hook.blocking = self  # type: ignore[assignment]  # mitmproxy's own annotation is quoted, mypy reads bool
        return hook

    def state_take_in_response(self, event: events.Event) -> Commands:
        """A response body arrives."""
        transfer, response = self._exchange.response, self.flow.response
        if not isinstance(transfer, Transfer) or response is None:
            return
        if isinstance(event, ResponseData):
            if event.data and has_no_body(self.flow.request, response):
                yield from self._deny("a body where there is none")
                return
            transfer.feed(event.data)
        elif isinstance(event, ResponseTrailers):
            response.trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage):
            transfer.finish()

    def state_take_in_request(self, event: events.Event) -> Commands:
        """An upload arrives."""
        transfer = self._exchange.request
        if isinstance(transfer, Transfer):
            if isinstance(event, RequestData):
                transfer.feed(event.data)
            elif isinstance(event, RequestTrailers):
                self.flow.request.trailers = event.trailers
            elif isinstance(event, RequestEndOfMessage):
                transfer.finish()
        yield from ()

    # --- steps

    def _carry_out(self, pump: Pump) -> Commands:
        transfer, step = pump.transfer, pump.step
        if self._is_errored:
            transfer.abandon(Reason.CLIENT_GONE, "the connection is gone")
            return
        act = self._request_acts if transfer.upload else self._response_acts
        if step is None:
            transfer.abandon(Reason.PROTOCOL, "no addon answered for the body")
            step = Cut("no addon answered for the body")
        if isinstance(step, Release) and isinstance(transfer.last, Cut):
            step = transfer.last  # it was cut since this step was made
        try:
            yield from act[type(step)](self, transfer, step)
        finally:  # also where the guard has stopped it
            if not isinstance(step, Release):
                transfer.close()
        if isinstance(step, Release):
            yield self._pump(transfer)

    @property
    def _is_errored(self) -> bool:
        return self.state_errored in (self.client_state, self.server_state)

    # --- the steps of a response

    def _release_response(self, transfer: Transfer, step: Release) -> Commands:
        yield from self._send_headers_once(transfer)
        transfer.receiver.bind_stream(self._protocol_to(self.context.client), self.stream_id)
        if step.data:  # an empty chunk would be the end of a chunked body
            yield Passage(ResponseData(self.stream_id, step.data), self.context.client)

    def _send_headers_once(self, transfer: Transfer) -> Commands:
        if not self._headers_sent:
            self._headers_sent = True
            self._frame(transfer, None)
            if self.flow.response:
                headers = ResponseHeaders(self.stream_id, self.flow.response, end_stream=False)
                yield Passage(headers, self.context.client)

    def _frame(self, transfer: Transfer, length: int | None) -> None:
        """Our own framing, on a copy where it differs: the server side judges its connection by the original."""
        if self.flow.response and transfer.piece is not None:
            self.flow.response = frame_piece(self.flow.response, transfer.piece)
        elif self.flow.response:
            self.flow.response = frame_for_client(
                self.flow.request, self.flow.response, length=length, identity=transfer.leaves_as_identity
            )

    def _pass_whole_response(self, transfer: Transfer, step: Whole) -> Commands:
        self._frame(transfer, len(step.content))
        if self.flow.response:
            self.flow.response.stream = False
            self.flow.response.data.content = step.content
        self._exchange.response = Clearance.CHECKED
        yield from self.send_response()

    def _finish_response(self, transfer: Transfer, step: Finish) -> Commands:
        yield from self._send_headers_once(transfer)
        self._exchange.response = Clearance.CHECKED
        yield from self.send_response(already_streamed=True)

    def _hand_over_response(self, transfer: Transfer, step: HandOver) -> Commands:
        yield from self._release_response(transfer, Release(transfer.rest()))
        self._exchange.response = Clearance.UNCHECKED
        if self.flow.response:
            self.flow.response.stream = True
        self._hold_back(upload=False)
        self.server_state = self.state_stream_response_body
        if transfer.intake.complete:
            yield from self.state_stream_response_body(ResponseEndOfMessage(self.stream_id))

    def _fetch_piece(self, transfer: Transfer, step: Fetch) -> Commands:
        """The server is asked again; what it still sends of its first answer is for nobody."""
        if transfer.way.fetch is not None:
            self._exchange.response = transfer.way.fetch(transfer, step.piece)
        first = self._protocol_to(self.context.server)
        is_cut = self._asking
        yield from self._stop_server("a piece is enough")
        if is_cut and isinstance(first, Http1Connection):
            first.state = _say_nothing  # of its end we may be told late, or never
        yield from self._ask_again()

    def _ask_again(self) -> Commands:
        self.flow.response = None
        self.server_state = self.state_wait_for_response_headers
        if not (yield from self.make_server_connection()):
            return
        begin_stream_anew(self._protocol_to(self.context.server), self.stream_id)
        headers = RequestHeaders(self.stream_id, self.flow.request, end_stream=True)
        yield SendHttp(headers, self.context.server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)

    def _refuse_response(self, transfer: Transfer, step: Refuse) -> Commands:
        yield from self._stop_server("refused by antivirus")
        self.flow.response = step.page
        self._exchange.response = Clearance.OURS
        yield from self.send_response()

    def _cut(self, transfer: Transfer, step: Cut) -> Commands:
        yield from self._break(step.reason, ErrorCode.KILL)

    # --- the steps of an upload

    def _release_request(self, transfer: Transfer, step: Release) -> Commands:
        yield from self._connect_once(transfer)
        if step.data and not self._is_errored:
            transfer.receiver.bind_stream(self._protocol_to(self.context.server), self.stream_id)
            yield Passage(RequestData(self.stream_id, step.data), self.context.server)

    def _connect_once(self, transfer: Transfer) -> Commands:
        if not self._connected and not self._is_errored:
            outgoing = transfer.intake.outgoing
            if transfer.leaves_as_identity:
                self.flow.request.headers.pop("content-encoding", None)
            yield from self._connect(outgoing.size if outgoing.complete else None)

    def _connect(self, length: int | None) -> Commands:
        """Ask the server, for an upload of `length` bytes; None is unknown, or what the client announced."""
        if not (yield from self.make_server_connection()):
            self.client_state = self.state_errored
            return
        self._connected = True
        speaks_http1 = isinstance(self._protocol_to(self.context.server), Http1Connection)
        frame_for_server(self.flow.request, length, chunked=speaks_http1)
        headers = RequestHeaders(self.stream_id, self.flow.request, end_stream=False)
        yield Passage(headers, self.context.server)

    def _pass_whole_request(self, transfer: Transfer, step: Whole) -> Commands:
        self._exchange.request = Clearance.CHECKED
        self.flow.request.stream = False
        if transfer.leaves_as_identity:
            self.flow.request.headers.pop("content-encoding", None)
        frame_for_server(self.flow.request, len(step.content), chunked=False)
        self.request_body_buf += step.content
        self.client_state = self.state_consume_request_body
        yield from self.state_consume_request_body(RequestEndOfMessage(self.stream_id))

    def _finish_request(self, transfer: Transfer, step: Finish) -> Commands:
        yield from self._connect_once(transfer)
        self._exchange.request = Clearance.CHECKED
        yield from self._end_request()

    def _hand_over_request(self, transfer: Transfer, step: HandOver) -> Commands:
        yield from self._connect_once(transfer)
        yield from self._release_request(transfer, Release(transfer.rest()))
        self._exchange.request = Clearance.UNCHECKED
        self._stream_on()
        if transfer.intake.complete:
            yield from self._end_request()

    def _stream_on(self) -> None:
        """What the client still sends goes on to the server as it comes."""
        if not self._is_errored:
            self.flow.request.stream = True
            self._hold_back(upload=True)
            self.client_state = self.state_stream_request_body

    # --- what streams past

    def _hold_back(self, *, upload: bool) -> None:
        """From now on the sender may not be faster than its receiver."""
        if self._exchange.throttle is not None:
            self._throttle = self._exchange.throttle(upload)
            receiver = self.context.server if upload else self.context.client
            self._throttle.bind_stream(self._protocol_to(receiver), self.stream_id)

    def state_stream_response_body(self, event: events.Event) -> Commands:
        """mitmproxy's own, with an eye on the client's pace."""
        yield from super().state_stream_response_body(event)
        if self._throttle is not None:
            self._throttle.passed()

    def state_stream_request_body(self, event: events.Event) -> Commands:
        """mitmproxy's own, with an eye on the server's pace."""
        yield from super().state_stream_request_body(event)
        if self._throttle is not None:
            self._throttle.passed()

    def _end_request(self) -> Commands:
        if not self._is_errored:
            self.flow.request.stream = True
            yield from self.state_stream_request_body(RequestEndOfMessage(self.stream_id))

    def _refuse_request(self, transfer: Transfer, step: Refuse) -> Commands:
        self.flow.response = step.page
        self._exchange.response = Clearance.OURS
        yield from self._answer()

    def _answer(self) -> Commands:
        """Reply at once and without the server; what the client still sends is read and forgotten."""
        self._answered = True
        self.client_state = self.state_done
        yield HttpResponseHeadersHook(self.flow)
        if not (yield from self.check_killed(True)):
            yield from self.send_response()

    _response_acts: ClassVar[dict[type[Any], Callable[..., Commands]]] = {
        Release: _release_response,
        Whole: _pass_whole_response,
        Finish: _finish_response,
        HandOver: _hand_over_response,
        Fetch: _fetch_piece,
        Refuse: _refuse_response,
        Cut: _cut,
    }
    _request_acts: ClassVar[dict[type[Any], Callable[..., Commands]]] = {
        Release: _release_request,
        Whole: _pass_whole_request,
        Finish: _finish_request,
        HandOver: _hand_over_request,
        Refuse: _refuse_request,
        Cut: _cut,
    }


def _say_nothing(event: events.Event) -> Commands:
    """The state of a connection whose answer is for nobody any more."""
    yield from ()


def begin_stream_anew(protocol: Layer | None, stream_id: int) -> None:
    """Towards an HTTP/2 server a stream of ours is used once: let a second request of it have another there."""
    if isinstance(protocol, Http2Client):
        if (used := protocol.our_stream_id.pop(stream_id, None)) is not None:
            protocol.streams.pop(used, None)  # what still comes of it is for nobody


def _classify(entry: Transfer | Clearance | Plan | None) -> Transfer | Clearance | None:
    """Carry a plan out; one that fails leaves the body unclassified, and so it is denied."""
    if entry is None or isinstance(entry, Transfer | Clearance):
        return entry
    try:
        return entry()
    except Exception:
        logger.exception("antivirus: a body could not be classified")
        return None


def install() -> None:
    """Let mitmproxy make our streams from now on. The module's global is looked up at every new stream, so this
    outlives a script that breaks on a hot reload: without an addon nothing is classified, and nothing passes."""
    http1_peers.install()
    websocket_frames.install()
    http_layer.HttpStream = AvHttpStream  # type: ignore[misc]  # this replacement is the whole point
