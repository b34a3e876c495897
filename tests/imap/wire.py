"""An IMAP client that sends what it is told to, and shows the octets that come: libraries mend what is tested."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable

_MARKER = re.compile(rb"\{(\d+)\}\r\n\Z")


class Wire:
    """`greeting` is the first line. `plus` are the server's go-aheads so far."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, *, greet: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._file = self.socket.makefile("rb")
        self._count = 0
        self.greeting = self.unit() if greet else b""

    def unit(self) -> bytes:
        """A line with all literals in it and behind it; b"" at the end."""
        unit = line = self._file.readline()
        while (found := _MARKER.search(line)) and not unit.startswith(b"* OK"):
            unit += self._file.read(int(found[1]))
            line = self._file.readline()
            unit += line
        return unit

    def send(self, data: bytes) -> None:
        """Octets as they are."""
        self.socket.sendall(data)

    def tag(self) -> bytes:
        """The next tag."""
        self._count += 1
        return b"a%d" % self._count

    def answers(self, tag: bytes) -> tuple[list[bytes], bytes]:
        """Everything until the tagged line, and that."""
        units = []
        while unit := self.unit():
            if unit.startswith(tag + b" "):
                return units, unit
            units.append(unit)
        raise EOFError(units)

    def ask(self, line: bytes) -> tuple[list[bytes], bytes]:
        """A command without its tag."""
        tag = self.tag()
        self.send(tag + b" " + line + b"\r\n")
        return self.answers(tag)

    def good(self, line: bytes) -> list[bytes]:
        """A command that is answered OK."""
        units, last = self.ask(line)
        assert last.split(b" ")[1] == b"OK", last
        return units

    def append(self, mailbox: bytes, *mails: bytes, plus: bytes = b"") -> bytes:
        """The tagged line of an APPEND of some mails; `plus` b"+" does not wait for a go-ahead."""
        tag = self.tag()
        self.send(tag + b" APPEND " + mailbox)
        for mail in mails:
            self.send(b" {%d%s}\r\n" % (len(mail), plus))
            if not plus:
                line = self.unit()
                if not line.startswith(b"+"):
                    return line
            self.send(mail)
        self.send(b"\r\n")
        return self.answers(tag)[1]

    def login(self, user: str, password: str) -> bytes:
        """LOGIN, by literals that are not waited for."""
        words = [word.encode() for word in (user, password)]
        return self.ask(b"LOGIN {%d+}\r\n%s {%d+}\r\n%s" % (len(words[0]), words[0], len(words[1]), words[1]))[1]

    def close(self) -> None:
        """End."""
        self._file.close()
        self.socket.close()


def fetched(units: Iterable[bytes]) -> dict[int, bytes]:
    """FETCH responses by number."""
    found = {}
    for unit in units:
        match = re.match(rb"\* (\d+) FETCH ", unit)
        if match:
            found[int(match[1])] = unit
    return found
