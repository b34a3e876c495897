"""HTTP/1 connections as mitmproxy reads them, made to refuse what it chokes on or would wait for without end.

Rules of this file: what mitmproxy reads well it goes on reading; a refusal is mitmproxy's own protocol error, so that
whoever waits is told; interim replies (RFC 9110 section 15.2) end here, for mitmproxy takes them for the last one.
"""

from __future__ import annotations

import re

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer, blank_line_regex
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    HttpEvent,
    ReceiveHttp,
    ResponseHeaders,
    ResponseProtocolError,
    _http1,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server, TBodyReader

MAX_HEAD = 256 * 1024  # of a message, bytes: what Chromium takes
MAX_LINE = 16 * 1024  # a chunk's size with its extensions, or all trailers, bytes
MAX_JOINED = 64 * 1024  # a body that is sent together with its head: more would be copied for long
MIN_DATA = 16 * 1024  # of a chunked body, told at once where so much is there, bytes
MAX_INTERIM = 20  # replies before the last one

_SMALL_CHUNK = re.compile(rb"([0-9a-fA-F]{1,3})\r\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}[ \r\n]")

Commands = layer.CommandGenerator[None]


class BoundedChunks(ChunkedReader):
    """Reads chunks. Raises h11's ProtocolError at trailers, which mitmproxy cannot carry over HTTP/1 (and at which it
    would crash), and at lines without an end.

    Small chunks are given together: each event is a walk through all of mitmproxy's layers, and a megabyte of chunks of
    one byte would hold up everybody for seconds."""

    _end: h11.EndOfMessage | None = None  # it was read, and is to be told next

    def __call__(self, buf: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """The next bytes of the body, its end, or None where more must arrive."""
        if self._end is not None:
            return self._end
        event = self._read(buf)
        if not isinstance(event, h11.Data) or len(event.data) >= MIN_DATA:
            return event
        gathered = bytearray(event.data)
        while len(gathered) < MIN_DATA:
            if many := self._gather(buf):
                gathered += many
            elif isinstance(more := self._read(buf), h11.Data):
                gathered += more.data
            else:
                self._end = more
                break
        return h11.Data(data=bytes(gathered))

    def _gather(self, buf: ReceiveBuffer) -> bytes:
        """The data of plain small chunks that are here in full; what is any other is left for h11."""
        data, at, gathered = buf._data, len(self._bytes_to_discard), bytearray()
        if self._reading_trailer or self._bytes_in_chunk or data[:at] != self._bytes_to_discard:
            return b""
        while len(gathered) < MIN_DATA and (line := _SMALL_CHUNK.match(data, at)):
            start, size = line.end(), int(line[1], 16)
            if not size or data[start + size : start + size + 2] != b"\r\n":
                break
            gathered += data[start : start + size]
            at = start + size + 2
        if gathered:
            buf._extract(at)
            self._bytes_to_discard = b""
        return bytes(gathered)

    def _read(self, buf: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        event = super().__call__(buf)
        if event is None and len(buf) > MAX_LINE:
            raise h11.RemoteProtocolError("a chunk's first line, or the trailers, are too long")
        if isinstance(event, h11.EndOfMessage) and event.headers:
            raise h11.RemoteProtocolError("trailer fields cannot be passed on")
        return event


def make_body_reader(expected_size: int | None) -> TBodyReader:
    """mitmproxy's own, with bounds on chunks (size None)."""
    return BoundedChunks() if expected_size is None else _stock_body_reader(expected_size)


class BoundedServer(Http1Server):
    """The side of a client; what is wrong with its request it is told before the connection closes.

    The head of a response whose whole body follows at once waits for that body: one write instead of two."""

    _head = b""  # of a response, not sent yet

    def send(self, event: HttpEvent) -> Commands:
        """mitmproxy's own."""
        for command in super().send(event):
            if isinstance(command, commands.SendData):
                if isinstance(event, ResponseHeaders) and _is_whole(event):
                    self._head = command.data
                    continue
                if self._head:
                    command.data, self._head = self._head + command.data, b""
            yield command

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """mitmproxy's own, up to a bound."""
        yield from super().read_headers(event)
        if self.state == self.read_headers and len(self.buf) > MAX_HEAD:
            yield from self._refuse(431, "the request's head is too large")
            self.state = self.done

    def read_body(self, event: events.Event) -> Commands:
        """mitmproxy's own, which closes without a word."""
        for command in super().read_body(event):
            if isinstance(command, commands.CloseConnection) and self.response is None:
                yield from self._refuse(400, "the request's body cannot be read in one way only")
            else:
                yield command

    def _refuse(self, status: int, why: str) -> Commands:
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.SendData(self.conn, _http1.make_error_response(status, why))
        yield commands.CloseConnection(self.conn)


class BoundedClient(Http1Client):
    """The side of a server."""

    _interim = 0

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """mitmproxy's own, without interim replies, and up to a bound."""
        if self.request is not None and isinstance(event, events.DataReceived):
            while self._drops_interim():
                self._interim += 1
            if (why := self._find_fault()) is not None:
                yield from self._refuse(why)
                return
        yield from super().read_headers(event)

    def _find_fault(self) -> str | None:
        if self._interim > MAX_INTERIM:
            return "too many interim replies"
        data = self.buf._data
        if not b"HTTP/".startswith(data[:5]):
            return "the reply does not begin with a status line"
        if len(data) > MAX_HEAD and not blank_line_regex.search(data, 0, MAX_HEAD):
            return "the reply's head is too large"
        return None

    def _drops_interim(self) -> bool:
        data = self.buf._data  # not `bytes`: a megabyte of body may be in there
        if self._interim > MAX_INTERIM or not _INTERIM.match(data) or not blank_line_regex.search(data):
            return False
        self.buf.maybe_extract_lines()
        return True

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """The message is complete: the next one may have interim replies again."""
        if response:
            self._interim = 0
        yield from super().mark_done(request=request, response=response)

    def _refuse(self, why: str) -> Commands:
        yield commands.CloseConnection(self.conn)
        if self.stream_id is not None:
            error = ResponseProtocolError(self.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR)
            yield ReceiveHttp(error)


def _is_whole(event: ResponseHeaders) -> bool:
    """True where the stream says the whole body next, in one piece (HttpStream.send_response), and a small one."""
    response = event.response
    if event.end_stream or response.stream:
        return False
    return 0 < len(response.raw_content or b"") <= MAX_JOINED


_stock_body_reader = _http1.make_body_reader


def install() -> None:
    """Let mitmproxy's HTTP layer use them from now on; every name is looked up when a connection begins."""
    _http1.make_body_reader = make_body_reader
    http_layer.Http1Server = BoundedServer  # type: ignore[misc]  # this replacement is the whole point
    http_layer.Http1Client = BoundedClient  # type: ignore[misc]  # as above
