"""The HTTP stream that denies by default: mitmproxy's own, with our hand on everything that carries a body.

Rules of this file: no byte of a body leaves unless its transfer released it or the flow is cleared, whatever the
hooks did or failed to do; a transfer's steps arrive as completions of a hook that does not pause the stream, so
bodies keep flowing in while a check runs; framing towards the receiver is ours; nothing here waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    ErrorCode,
    HttpErrorHook,
    HttpLayer,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
    HttpStream,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
)

from addons.exchange import Clearance, Exchange, Plan, exchange_of
from addons.framing import ends_by_closing, find_line_break, frame_for_client, own_reason
from addons.pump import AvPumpHook, Pump
from addons.ranges import frame_piece
from addons.steps import Cut, Finish, HandOver, Refuse, Release, Whole
from addons.transfer import Transfer
from policy.decision import Reason

logger = logging.getLogger(__name__)

Commands = layer.CommandGenerator[None]


class Passage(SendHttp):
    """A send that a transfer's step released."""


class AvHttpStream(HttpStream):
    """Takes the place of mitmproxy's HttpStream, see `install`."""

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.HookCompleted) and isinstance(event.command, AvPumpHook):
            yield from self._guard(self._carry_out(event.command.pump))
        elif isinstance(event, ResponseData) and self._unclassified(event):
            yield from self._deny("nobody classified this body")
        else:
            yield from self._guard(super()._handle_event(event))

    # --- default deny

    def _guard(self, work: Commands) -> Commands:
        """Pass on the stream's own commands, but for a body that may not leave."""
        reply: Any = None
        while True:
            try:
                command = work.send(reply)
            except StopIteration:
                return
            if isinstance(command, SendHttp) and not self._may_leave(command):
                work.close()
                yield from self._deny("nobody cleared this body")
                return
            reply = yield command

    def _may_leave(self, command: SendHttp) -> bool:
        if isinstance(command, Passage):
            return True
        event = command.event
        if isinstance(event, RequestHeaders | ResponseHeaders) and event.end_stream:
            return True
        if isinstance(event, ResponseHeaders):
            return self._headers_may_leave(event.response)
        if isinstance(event, ResponseData | ResponseTrailers):
            return isinstance(self._exchange.response, Clearance) or self._is_connect_error
        if isinstance(event, RequestHeaders | RequestData | RequestTrailers):
            return isinstance(self._exchange.request, Clearance)
        return True

    def _headers_may_leave(self, response: http.Response) -> bool:
        if response.status_code in (100, 102, 103):
            return True
        return isinstance(self._exchange.response, Clearance) or self._is_connect_error

    @property
    def _is_connect_error(self) -> bool:
        """The one body that mitmproxy makes itself on this way: why it could not connect."""
        return self.flow.request.method == "CONNECT"

    @property
    def _exchange(self) -> Exchange:
        return exchange_of(self.flow)

    def _unclassified(self, event: ResponseData) -> bool:
        return self.server_state == self.state_consume_response_body and self._exchange.response is None

    def _deny(self, why: str) -> Commands:
        yield commands.Log(f"antivirus: {why}: {self.flow.request.pretty_url}", logging.ERROR)
        yield from self._break(f"antivirus: {why}", ErrorCode.GENERIC_SERVER_ERROR)

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Headers have arrived: what two readers could read in two ways goes no further."""
        why = find_line_break(self.flow.request) if request else self._find_fault()
        if why is None:
            return (yield from super().check_invalid(request))
        yield commands.Log(f"antivirus: {'request' if request else 'response'} refused: {why}", logging.WARNING)
        if request:
            yield HttpRequestHeadersHook(self.flow)
            yield from self._break(f"antivirus: {why}", ErrorCode.REQUEST_VALIDATION_FAILED)
        else:
            yield SendHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL), self.context.server)
            yield from self._break(f"antivirus: {why}", ErrorCode.RESPONSE_VALIDATION_FAILED)
        return True

    def _find_fault(self) -> str | None:
        response = self.flow.response
        if response is None:
            return None
        if response.status_code == 101 and not _asks_for_websocket(self.flow.request, response):
            return "101 without a WebSocket that was asked for"
        fault = find_line_break(response)
        own_reason(response)
        return fault

    def passthrough(self, event: events.Event) -> Commands:
        """After an upgrade: no message of a WebSocket passes that nobody judged, and a refused one ends it."""
        for command in super().passthrough(event):
            if isinstance(command, SendHttp) and self._has_unjudged_message:
                break
            yield command
        if self._exchange.broken and not self._broken:
            self._broken = True
            yield SendHttp(RequestProtocolError(self.stream_id, "refused", ErrorCode.CANCEL), self.context.server)
            yield from self._break("antivirus: a message was refused", ErrorCode.KILL)

    _broken = False

    @property
    def _has_unjudged_message(self) -> bool:
        websocket, exchange = self.flow.websocket, self._exchange
        if websocket is None or len(websocket.messages) <= exchange.messages:
            return False
        exchange.broken = True
        return True

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """A peer is gone or failed: the check of what nobody gets ends, and no cut looks like an end."""
        reason = Reason.CLIENT_GONE if isinstance(event, RequestProtocolError) else Reason.UPSTREAM
        for transfer in (self._exchange.request, self._exchange.response):
            if isinstance(transfer, Transfer) and transfer.last is None:
                self._reset_if_unframed(transfer)
                transfer.abandon(reason, event.message)
        yield from super().handle_protocol_error(event)

    def _reset_if_unframed(self, transfer: Transfer) -> None:
        """A client that takes the close for the end must see a reset instead."""
        if transfer.sent and not transfer.upload and ends_by_closing(self.flow.request, self.flow.response):
            transfer.receiver.reset_on_close()

    # --- transfers

    def start_response_stream(self) -> Commands:
        """The headers of a response whose body follows: send nothing yet, let the transfer take it in."""
        exchange = self._exchange
        exchange.response = _classify(exchange.response)
        if not isinstance(exchange.response, Transfer):
            yield from super().start_response_stream()
            return
        self.server_state = self.state_take_in_response
        yield from self._begin(exchange.response)

    def start_request_stream(self) -> Commands:
        """The headers of an upload: no connection to the server before the verdict."""
        exchange = self._exchange
        exchange.request = _classify(exchange.request)
        if not isinstance(exchange.request, Transfer):
            yield from super().start_request_stream()
            return
        self.client_state = self.state_take_in_request
        yield from self._begin(exchange.request)

    def _begin(self, transfer: Transfer) -> Commands:
        transfer.start()
        yield self._pump(transfer)

    def _pump(self, transfer: Transfer) -> AvPumpHook:
        hook = AvPumpHook(Pump(transfer))
        hook.blocking = self  # type: ignore[assignment]  # mitmproxy's own annotation is quoted, mypy reads bool
        return hook

    def state_take_in_response(self, event: events.Event) -> Commands:
        """A response body arrives."""
        transfer = self._exchange.response
        if isinstance(transfer, Transfer):
            if isinstance(event, ResponseData):
                transfer.feed(event.data)
            elif isinstance(event, ResponseTrailers) and self.flow.response:
                self.flow.response.trailers = event.trailers
            elif isinstance(event, ResponseEndOfMessage):
                transfer.finish()
        yield from ()

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

    def _carry_out(self, pump: Pump) -> Commands:
        transfer, step = pump.transfer, pump.step
        if self.state_errored in (self.client_state, self.server_state):
            transfer.abandon(Reason.CLIENT_GONE, "the connection is gone")
            return
        act = self._request_acts if transfer.upload else self._response_acts
        if step is None:
            transfer.abandon(Reason.PROTOCOL, "no addon answered for the body")
            step = Cut("no addon answered for the body")
        yield from act[type(step)](self, transfer, step)
        if transfer.last is not None:
            transfer.close()
        else:
            yield self._pump(transfer)

    # --- the steps of a response

    def _release_response(self, transfer: Transfer, step: Release) -> Commands:
        yield from self._send_headers_once(transfer)
        transfer.receiver.bind_stream(self._client_protocol, self.stream_id)
        if step.data:  # an empty chunk would be the end of a chunked body
            yield Passage(ResponseData(self.stream_id, step.data), self.context.client)

    @property
    def _client_protocol(self) -> layer.Layer | None:
        """The HTTP connection layer towards the client, which holds HTTP/2's send buffer."""
        above = self.context.layers[self.context.layers.index(self) - 1]
        return above.connections.get(self.context.client) if isinstance(above, HttpLayer) else None

    def _send_headers_once(self, transfer: Transfer) -> Commands:
        if self.server_state == self.state_take_in_response and not self._headers_sent:
            self._headers_sent = True
            self._frame(transfer, None)
            if self.flow.response:
                headers = ResponseHeaders(self.stream_id, self.flow.response, end_stream=False)
                yield Passage(headers, self.context.client)

    _headers_sent = False

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
        self.server_state = self.state_stream_response_body
        if transfer.intake.complete:
            yield from self.state_stream_response_body(ResponseEndOfMessage(self.stream_id))

    def _refuse_response(self, transfer: Transfer, step: Refuse) -> Commands:
        yield from self._stop_server()
        self.flow.response = step.page
        self._exchange.response = Clearance.OURS
        yield from self.send_response()

    def _cut(self, transfer: Transfer, step: Cut) -> Commands:
        self._reset_if_unframed(transfer)
        yield from self._break(step.reason, ErrorCode.KILL)

    # --- the steps of an upload

    def _release_request(self, transfer: Transfer, step: Release) -> Commands:
        yield from self._connect_once(transfer)
        if step.data and self.client_state != self.state_errored:
            yield Passage(RequestData(self.stream_id, step.data), self.context.server)

    def _connect_once(self, transfer: Transfer) -> Commands:
        if self.client_state == self.state_take_in_request:
            self._exchange.request = Clearance.CHECKED
            self.flow.request.stream = True
            yield from super().start_request_stream()
            if self.client_state == self.state_errored:
                transfer.abandon(Reason.UPSTREAM, "the server cannot be reached")

    def _pass_whole_request(self, transfer: Transfer, step: Whole) -> Commands:
        self._exchange.request = Clearance.CHECKED
        self.flow.request.stream = False
        self._frame_upload(transfer, len(step.content))
        self.request_body_buf += step.content
        self.client_state = self.state_consume_request_body
        yield from self.state_consume_request_body(RequestEndOfMessage(self.stream_id))

    def _frame_upload(self, transfer: Transfer, length: int) -> None:
        if transfer.leaves_as_identity:
            self.flow.request.headers.pop("content-encoding", None)
            if "content-length" in self.flow.request.headers:
                self.flow.request.headers["content-length"] = str(length)

    def _finish_request(self, transfer: Transfer, step: Finish) -> Commands:
        yield from self._connect_once(transfer)
        if self.client_state != self.state_errored:
            yield from self.state_stream_request_body(RequestEndOfMessage(self.stream_id))

    def _hand_over_request(self, transfer: Transfer, step: HandOver) -> Commands:
        yield from self._release_request(transfer, Release(transfer.rest()))
        self._exchange.request = Clearance.UNCHECKED
        if transfer.intake.complete and self.client_state != self.state_errored:
            yield from self.state_stream_request_body(RequestEndOfMessage(self.stream_id))

    def _refuse_request(self, transfer: Transfer, step: Refuse) -> Commands:
        self.flow.response = step.page
        self._exchange.response = Clearance.OURS
        self.client_state = self.state_done  # what the client still sends is read and forgotten
        yield HttpResponseHeadersHook(self.flow)
        yield from self.send_response()

    _response_acts: ClassVar[dict[type[Any], Callable[..., Commands]]] = {
        Release: _release_response,
        Whole: _pass_whole_response,
        Finish: _finish_response,
        HandOver: _hand_over_response,
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

    # --- ends

    def _stop_server(self) -> Commands:
        """The origin still sends what nobody will get."""
        transfer = self._exchange.response
        if isinstance(transfer, Transfer) and not transfer.intake.complete:
            error = RequestProtocolError(self.stream_id, "refused by antivirus", ErrorCode.CANCEL)
            yield SendHttp(error, self.context.server)

    def _break(self, why: str, code: ErrorCode) -> Commands:
        """End the exchange so that the client sees a failure: an error page where nothing has left, else a cut."""
        yield from self._stop_server()
        self.flow.error = mitm_flow.Error(why)
        yield HttpErrorHook(self.flow)
        yield SendHttp(ResponseProtocolError(self.stream_id, why, code), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        yield DropStream(self.stream_id)


def _asks_for_websocket(request: http.Request, response: http.Response) -> bool:
    """Both sides must say it; anything else would be a tunnel that nobody looks into."""
    both = (request.headers.get("upgrade", ""), response.headers.get("upgrade", ""))
    return all(value.strip().lower() == "websocket" for value in both)


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
    http_layer.HttpStream = AvHttpStream  # type: ignore[misc]  # this replacement is the whole point
