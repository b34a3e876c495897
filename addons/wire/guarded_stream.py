"""The HTTP stream that denies by default: mitmproxy's own, with a guard on everything that carries a body.

Rules of this file: no byte of a body leaves unless a transfer's step released it or the flow is cleared, whatever the
hooks did or failed to do; what two readers could read in two ways goes no further; whatever ends an exchange early
gives back what its transfers hold, and both peers see a failure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    ErrorCode,
    HttpErrorHook,
    HttpLayer,
    HttpRequestHeadersHook,
    HttpStream,
    RequestData,
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
from mitmproxy.proxy.layers.http._base import HttpConnection
from mitmproxy.proxy.layers.http._http1 import Http1Connection

from addons.body.transfer import Transfer
from addons.visit import Visit, visit_of
from addons.wire.exchange import Clearance, Exchange, exchange_of, forget_exchange
from addons.wire.framing import (
    ends_by_closing,
    find_break_in_fields,
    find_fault_in_version,
    find_line_break,
    own_reason,
)
from policy.decision import Reason

Commands = layer.CommandGenerator[None]


_DNS_PORTS = (53, 5353)  # as in mitmproxy's NextLayer

# Where mitmproxy quotes in an error what a peer sent it.
_QUOTED = re.compile(r"\s*\(?(?:bytearray\()?\bb['\"].*", re.DOTALL)


def _quote_nothing(event: events.Event) -> None:
    """The page of an error tells no byte of what nobody checked."""
    if isinstance(event, ResponseProtocolError):
        event.message = _QUOTED.sub(" ...", event.message)


class Passage(SendHttp):
    """A send that a transfer's step released."""


class GuardedStream(HttpStream):
    """What passes is for the subclass to say, by `Passage` and by the flow's exchange."""

    _asking = False  # the server has our request, and its response is not complete
    _answered = False  # the client has its answer without the server
    _broken = False
    _known_exchange: Exchange | None = None
    _visit: Visit | None = None  # until this exchange is over

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, RequestHeaders):
            self._enter(event)
        if isinstance(event, ResponseEndOfMessage | ResponseProtocolError):
            self._asking = False
        yield from self._guard(self._take(event))
        self._leave_if_over()

    def _enter(self, event: RequestHeaders) -> None:
        if event.replay_flow is not None:
            forget_exchange(event.replay_flow)  # what was cleared then is not what comes now
            return  # there is no client
        self._visit = visit_of(self.context.client)
        if self._visit is not None:
            self._visit.begin(self, self._protocol_to(self.context.client))

    def _leave_if_over(self) -> None:
        """Tell the client's visit once nothing is owed to it here any more. A tunnel stays, but is not waited for."""
        if self._visit is None:
            return
        tunnel = "_handle_event" in vars(self) and self.flow.request.method == "CONNECT"
        states = (self.client_state, self.server_state)
        if tunnel or self.state_errored in states or states == (self.state_done, self.state_done):
            self._visit.end(self, tunnel=tunnel)
            self._visit = None

    def _take(self, event: events.Event) -> Commands:
        """A body is never buffered unseen, whatever an addon, or the lack of one, made of `stream`."""
        if isinstance(event, ResponseData) and self.server_state == self.state_consume_response_body:
            if self._exchange.response is None:
                yield from self._deny("nobody classified this body")
            elif callable(self._exchange.response):
                yield from self.start_response_stream()
        elif isinstance(event, RequestData) and self.client_state == self.state_consume_request_body:
            if self._exchange.request is None:
                yield from self._deny("nobody classified this upload")
            elif callable(self._exchange.request):
                yield from self.start_request_stream()
        yield from super()._handle_event(event)

    # --- default deny

    def _guard(self, work: Commands) -> Commands:
        """Pass on the stream's own commands, but for a body that may not leave."""
        reply: Any = None
        while True:
            try:
                command = work.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(command, SendHttp):
                _quote_nothing(command.event)
                if not self._takes_trailers(command):
                    continue
                self._ask_for_no_codings(command)
                if not self._may_leave(command):
                    work.close()
                    yield from self._deny("nobody cleared this body")
                    return
                self._asking = self._asking or isinstance(command.event, RequestHeaders)
            reply = yield command

    def _may_leave(self, command: SendHttp) -> bool:
        if isinstance(command, Passage):
            return True
        event = command.event
        if isinstance(event, RequestHeaders | ResponseHeaders) and event.end_stream:
            return True
        if isinstance(event, ResponseHeaders) and event.response.status_code in (100, 102, 103):
            return True
        if isinstance(event, ResponseHeaders | ResponseData | ResponseTrailers):
            return isinstance(self._exchange.response, Clearance) or self._is_connect_error
        if isinstance(event, RequestHeaders | RequestData | RequestTrailers):
            return isinstance(self._exchange.request, Clearance)
        return True

    def _takes_trailers(self, command: SendHttp) -> bool:
        """False for trailers that mitmproxy's HTTP/1 cannot send, or that two readers could read in two ways."""
        event = command.event
        if not isinstance(event, RequestTrailers | ResponseTrailers):
            return True
        speaks_http1 = isinstance(self._protocol_to(command.connection), Http1Connection)
        return not speaks_http1 and find_break_in_fields(event.trailers) is None

    def _ask_for_no_codings(self, command: SendHttp) -> None:
        """What a client takes for transfer-codings and trailers (TE) is its own affair with us, and we refuse both
        (RFC 9110 section 10.1.4). Over HTTP/2 the field says `trailers`, which pass there, and gRPC wants it."""
        event = command.event
        if isinstance(event, RequestHeaders) and isinstance(self._protocol_to(command.connection), Http1Connection):
            event.request.headers.pop("te", None)

    @property
    def _is_connect_error(self) -> bool:
        """The one body that mitmproxy makes itself on this way: why it could not connect."""
        return self.flow.request.method == "CONNECT"

    @property
    def _exchange(self) -> Exchange:
        """The flow's, which is asked for some twenty times; a stream has one flow for its life."""
        if self._known_exchange is None:
            self._known_exchange = exchange_of(self.flow)
        return self._known_exchange

    def _protocol_to(self, connection: Connection) -> layer.Layer | None:
        """The HTTP connection layer towards a peer: towards a server it lies under TLS and upstream proxies."""
        above = self.context.layers[self.context.layers.index(self) - 1]
        found = above.connections.get(connection) if isinstance(above, HttpLayer) else None
        while found is not None and not isinstance(found, HttpConnection):
            found = getattr(found, "child_layer", None)
        return found

    def _deny(self, why: str) -> Commands:
        yield commands.Log(f"antivirus: {why}: {self.flow.request.pretty_url}", logging.ERROR)
        yield from self._break(f"antivirus: {why}", ErrorCode.GENERIC_SERVER_ERROR)

    # --- what is no plain HTTP

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Headers have arrived: what two readers could read in two ways goes no further."""
        why = self._find_fault_in_request() if request else self._find_fault()
        if why is None:
            return (yield from super().check_invalid(request))
        yield commands.Log(f"antivirus: {'request' if request else 'response'} refused: {why}", logging.WARNING)
        if request:
            yield HttpRequestHeadersHook(self.flow)
            yield from self._break(f"antivirus: {why}", ErrorCode.REQUEST_VALIDATION_FAILED)
        else:
            yield from self._break(f"antivirus: {why}", ErrorCode.RESPONSE_VALIDATION_FAILED)
        return True

    def _find_fault_in_request(self) -> str | None:
        request = self.flow.request
        if request.method == "CONNECT" and request.port in _DNS_PORTS:
            return "a tunnel to a port of DNS, in which mitmproxy relays what is no HTTP"
        return self._find_fault_in_version(request, self.context.client) or find_line_break(request)

    def _find_fault_in_version(self, message: http.Message, peer: Connection) -> str | None:
        """HTTP/2 and 3 say no version of their own."""
        speaks_http1 = isinstance(self._protocol_to(peer), Http1Connection)
        return find_fault_in_version(message) if speaks_http1 else None

    def _find_fault(self) -> str | None:
        response = self.flow.response
        if response is None:
            return None
        if (why := self._find_fault_in_version(response, self.flow.server_conn)) is not None:
            return why
        if response.status_code == 101 and not self._is_websocket(response):
            return "101 without a WebSocket that was asked for"
        fault = find_line_break(response)
        own_reason(response)
        return fault

    def _is_websocket(self, response: http.Response) -> bool:
        """Both sides must say it, and mitmproxy take it for one: all else would be a tunnel that nobody looks into."""
        headers = self.flow.request.headers
        both = (headers.get("upgrade", ""), response.headers.get("upgrade", ""))
        known = headers.get("sec-websocket-version", "") == "13" and bool(self.context.options.websocket)
        return known and all(value.lower() == "websocket" for value in both)

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

    @property
    def _has_unjudged_message(self) -> bool:
        websocket, exchange = self.flow.websocket, self._exchange
        if websocket is None or len(websocket.messages) <= exchange.messages:
            return False
        exchange.broken = True
        return True

    # --- ends

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """A peer is gone or failed: the check of what nobody gets ends, and no cut looks like an end."""
        if self._answered:
            return
        by_client = isinstance(event, RequestProtocolError)
        for transfer in self._transfers():
            if transfer.last is None:
                self._reset_if_unframed(transfer)
            transfer.abandon(Reason.CLIENT_GONE if by_client else Reason.UPSTREAM, event.message)
        if by_client and self.client_state not in (self.state_stream_request_body, self.state_done):
            yield from self._stop_server(event.message)
        yield from super().handle_protocol_error(event)
        if by_client:
            self.client_state = self.state_errored

    def state_done(self, event: events.Event) -> Commands:
        """What still arrives after the end is for nobody."""
        yield from ()

    def _transfers(self) -> Iterator[Transfer]:
        for entry in (self._exchange.request, self._exchange.response):
            if isinstance(entry, Transfer):
                yield entry

    def _reset_if_unframed(self, transfer: Transfer) -> None:
        """A client that takes the close for the end must see a reset instead."""
        if transfer.sent and not transfer.upload and ends_by_closing(self.flow.request, self.flow.response):
            transfer.receiver.reset_on_close()

    def _stop_server(self, why: str) -> Commands:
        """The server still sends what nobody will get, or waits for the rest of an upload."""
        if self._asking:
            self._asking = False
            yield SendHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL), self.context.server)

    def _break(self, why: str, code: ErrorCode) -> Commands:
        """End the exchange so that the client sees a failure: an error page where nothing has left, else a cut."""
        for transfer in self._transfers():
            self._reset_if_unframed(transfer)
            transfer.abandon(Reason.PROTOCOL, why)
        yield from self._stop_server(why)
        self.flow.error = mitm_flow.Error(why)
        yield HttpErrorHook(self.flow)
        yield SendHttp(ResponseProtocolError(self.stream_id, why, code), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        yield DropStream(self.stream_id)
