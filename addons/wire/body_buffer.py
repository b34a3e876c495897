"""h11's receive buffer, without the copies: mitmproxy's HTTP/1 puts every piece of a body through it.

Rules of this file: what comes out is what h11's own buffer would give, byte for byte and call for call; a piece that
is asked for whole is handed on as it came, anything else is h11's own work.
"""

from __future__ import annotations

from h11._receivebuffer import ReceiveBuffer
from mitmproxy.proxy.layers.http import _http1


class BodyBuffer(ReceiveBuffer):
    """Holds one untouched piece, and makes h11's bytearray of it as soon as somebody looks into it."""

    def __init__(self) -> None:
        self._piece = b""
        self._looked_into = bytearray()
        super().__init__()

    @property
    def _data(self) -> bytearray:
        if self._piece:
            self._looked_into += self._piece
            self._piece = b""
        return self._looked_into

    @_data.setter
    def _data(self, data: bytearray) -> None:
        self._looked_into = data

    def __iadd__(self, byteslike: bytes | bytearray) -> BodyBuffer:
        if isinstance(byteslike, bytes) and not self:
            self._piece = byteslike
        else:
            self._data += byteslike
        return self

    def __len__(self) -> int:
        return len(self._piece) + len(self._looked_into)

    def maybe_extract_at_most(self, count: int) -> bytes | bytearray | None:  # type: ignore[override]  # bytes will do
        """Up to `count` bytes, None where there are none. Its readers (h11's, mitmproxy's) take bytes as gladly."""
        if self._piece and len(self._piece) <= count:
            piece, self._piece = self._piece, b""
            return piece
        return self._extract(count) if self and count > 0 else None


def install() -> None:
    """Let mitmproxy's HTTP/1 connections use it from now on."""
    _http1.ReceiveBuffer = BodyBuffer  # type: ignore[misc]  # this replacement is the whole point
