"""FTP by hand, for what no client would send: raw lines, raw replies.

Rules of this file: nothing is judged; every wait is bounded.
"""

from __future__ import annotations

import re
import socket
from typing import Self

_WITHIN = 10.0


class Wire:
    """One control connection. A context manager; `welcome` is the greeting."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.sock = socket.create_connection((host, port), _WITHIN)
        self._buffer = b""
        self.welcome = self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def login(self, user: str = "anonymous", password: str = "secret-of-the-tests") -> Self:  # noqa: S107 - of the tests
        """USER, PASS and TYPE I."""
        for line in (f"USER {user}", f"PASS {password}", "TYPE I"):
            self.ask(line)
        return self

    def send(self, data: bytes) -> None:
        """As it is."""
        self.sock.sendall(data)

    def ask(self, line: str) -> str:
        """Send one line; its reply."""
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def code(self, line: str) -> int:
        """Send one line; its reply's code."""
        return int(self.ask(line)[:3])

    def reply(self) -> str:
        """The next reply, all lines of it (RFC 959, 4.2); "" at the end of the connection."""
        lines = [self._line()]
        if re.match(r"\d{3}-", lines[0]):
            while not lines[-1].startswith(lines[0][:3] + " ") and lines[-1]:
                lines.append(self._line())
        return "".join(lines).rstrip("\r\n")

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "surrogateescape") + "\n"

    def ended(self) -> bool:
        """The peer has closed, and said nothing more."""
        return self.reply() == ""

    def passive(self) -> int:
        """EPSV; the port."""
        match = re.search(r"\|\|\|(\d+)\|", self.ask("EPSV"))
        assert match is not None
        return int(match[1])

    def open_data(self, source: str | None = None) -> socket.socket:
        """EPSV, and the connection to it; from that address."""
        return self.connect_data(self.passive(), source)

    def connect_data(self, port: int, source: str | None = None) -> socket.socket:
        """A data connection to that port of the peer's."""
        return socket.create_connection((self.host, port), _WITHIN, source_address=(source, 0) if source else None)


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end or a reset; closes it."""
    data = b""
    with sock:
        try:
            while piece := sock.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
    return data
