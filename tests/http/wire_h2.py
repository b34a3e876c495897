"""A raw HTTP/2 client that notes when every byte came, several streams on one connection.

Rules of this file: windows are opened as data comes unless `reading` is off; a reset stream ends with its
error code's name; the connection is the caller's to close.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.http.proxy import Proxy
from tests.http.wire import Taken, connect_tls

Header = tuple[str, str]


class H2Client:
    """One connection through CONNECT and TLS. A context manager: closes at its end."""

    def __init__(self, proxy: Proxy, url: str, ca: str, *, reading: bool = True) -> None:
        self._socket: ssl.SSLSocket = connect_tls(proxy, url, ca, ("h2",))
        assert self._socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self._h2 = h2.connection.H2Connection(config)
        self._reading = reading
        self._authority = urlsplit(url).netloc
        self.streams: dict[int, Taken] = {}
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def get(self, url: str) -> Taken:
        """Ask for a URL of the connection's origin; what comes is noted in the `Taken` by `read_all`."""
        taken, _ = self._ask("GET", url, end_stream=True)
        return taken

    def post(self, url: str, data: bytes, trailers: Sequence[Header] = (), fields: Sequence[Header] = ()) -> Taken:
        """Upload without a length, as fast as the windows open."""
        taken, stream = self._ask("POST", url, fields, end_stream=False)
        while data:
            self.read_while(lambda: self._h2.local_flow_control_window(stream) == 0)
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            self._h2.send_data(stream, data[:size], end_stream=len(data) <= size and not trailers)
            data = data[size:]
            self._flush()
        if trailers:
            self._h2.send_headers(stream, list(trailers), end_stream=True)
            self._flush()
        return taken

    def _ask(self, method: str, url: str, fields: Sequence[Header] = (), *, end_stream: bool) -> tuple[Taken, int]:
        stream = self._h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "https"), (":authority", self._authority)]
        self._h2.send_headers(stream, [*headers, (":path", urlsplit(url).path), *fields], end_stream=end_stream)
        self._flush()
        self.streams[stream] = taken = Taken()
        return taken, stream

    def read_all(self) -> None:
        """Read until every stream has ended; TimeoutError where nothing comes for 20 s."""
        self.read_while(lambda: any(not taken.ended for taken in self.streams.values()))

    def read_while(self, wanted: Callable[[], bool]) -> None:
        """Read as long as the condition holds, it being asked after every piece."""
        while wanted():
            data = self._receive()
            if not data:
                self._end_rest("cut")
                return
            for event in self._h2.receive_data(data):
                self._note(event)
            self._flush()

    def reset(self, taken: Taken) -> None:
        """Give a stream up (RST_STREAM, CANCEL)."""
        stream = next(s for s, t in self.streams.items() if t is taken)
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        taken.ended = "given up"
        self._flush()

    def ping(self) -> None:
        """Send a PING."""
        self._h2.ping(b"sluicing")
        self._flush()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            return b""

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _end_rest(self, how: str) -> None:
        for taken in self.streams.values():
            taken.ended = taken.ended or how

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                taken = self.streams[event.stream_id or 0]
                taken.headers = {str(n): str(v) for n, v in event.headers or ()}
                taken.status, taken.head_at = int(taken.headers[":status"]), time.monotonic()
            case h2.events.DataReceived():
                self.streams[event.stream_id or 0].add(event.data or b"")
                if self._reading and event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            case h2.events.StreamEnded():
                self.streams[event.stream_id or 0].ended = "whole"
            case h2.events.StreamReset():
                code = h2.errors.ErrorCodes(event.error_code or 0)
                self.streams[event.stream_id or 0].ended = f"reset {code.name}"
            case h2.events.ConnectionTerminated():
                self._end_rest("connection ended")
