"""TYPE A: line ends as they travel (CRLF) and as a Unix server keeps them (LF) (RFC 959 3.1.1.1).

Rules of this file: no I/O; a stream may be cut anywhere and gives the same bytes; a CRLF that is there stays one.
"""

from __future__ import annotations

import re

_BARE = re.compile(rb"(?<!\r)\n")


class ToWire:
    """LF becomes CRLF."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        """The next bytes as they travel."""
        if not data:
            return b""
        glued = self._after_cr and data[:1] == b"\n"
        self._after_cr = data[-1:] == b"\r"
        return b"\n" + _BARE.sub(b"\r\n", data[1:]) if glued else _BARE.sub(b"\r\n", data)

    def finish(self) -> bytes:
        """What was held back: nothing."""
        return b""


class ToStore:
    """CRLF becomes LF."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next bytes as they are kept; a CR at the end waits for what follows."""
        data = self._held + data
        self._held = b"\r" if data[-1:] == b"\r" else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return held
