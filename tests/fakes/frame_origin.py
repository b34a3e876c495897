"""An HTTP/2 origin that answers with frames of the test's making, well-formed or not.

Rules of this file: settings, pings and windows are answered as they must be; what a request is answered with is the
script's alone; nothing is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Sequence[tuple[str, str]]


def block(fields: Fields) -> bytes:
    """A header block without use of the dynamic table, any bytes in it (latin-1)."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields], huffman=False)


def headers(stream: int, fields: Fields, *flags: str) -> Frame:
    """A HEADERS frame, complete unless END_HEADERS is left out by the flag `more`."""
    kept = {"END_HEADERS", *flags} - ({"more", "END_HEADERS"} if "more" in flags else set())
    return HeadersFrame(stream, block(fields), flags=list(kept))


def reply(stream: int, body: bytes, *more: tuple[str, str], status: str = "200") -> list[Frame]:
    """A plain reply."""
    return [headers(stream, [(":status", status), *more]), DataFrame(stream, body, flags=["END_STREAM"])]


def continued(stream: int, piece: bytes, *flags: str) -> Frame:
    """A CONTINUATION frame."""
    return ContinuationFrame(stream, piece, flags=list(flags))


class FrameOrigin:
    """`script` gives the frames that answer a request, by its stream. Lives in one event loop."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self.script: Callable[[int], Sequence[Frame]] = lambda stream: reply(stream, b"nothing")
        self.port = 0
        self.requests = 0

    async def start(self) -> None:
        """Bind a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readexactly(len(PREFACE))
            writer.write(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 100_000}).serialize())
            writer.write(WindowUpdateFrame(0, 1 << 30).serialize())
            while True:
                head = await reader.readexactly(9)
                frame, length = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await reader.readexactly(length)))
                for answer in self._answer(frame):
                    writer.write(answer.serialize())
                await writer.drain()
        writer.close()

    def _answer(self, frame: Frame) -> Sequence[Frame]:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                return [SettingsFrame(0, flags=["ACK"])]
            case PingFrame() if "ACK" not in frame.flags:
                return [PingFrame(0, frame.opaque_data, flags=["ACK"])]
            case HeadersFrame():
                self.requests += 1
                return self.script(frame.stream_id)
        return []
