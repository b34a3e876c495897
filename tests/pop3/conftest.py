"""A real Dovecot, and `avsluice run` before it as a process of its own."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import ClassVar

import pytest

from tests.http.run_proxy import RunProxy
from tests.real.dovecot_pop3_server import PASSWORD, DovecotPop3, run_dovecot_pop3

NOTICE = "{filename} was {status}: {virus}, says {antivirus}.\nAsk the postmaster about {id}.\n"

CHAPTER = """\
command-acl: {name: ALL, use-antivirus: [AV]}
mail-acl: {name: MAILOK, action: accept, quarantine: true}
doc-acl:
  - {name: REPLACE-INFECTED, when: {virus-status: [found]}, action: replace, replace: notice.txt}
  - {name: REPLACE-AV-UNKNOWN, when: {virus-status: [skipped, unknown]}, action: replace, replace: notice.txt}
  - {name: DOCOK, action: accept}
"""


class RunPop3(RunProxy):
    """One running `avsluice run FILE` with a pop3-proxy."""

    def __init__(self, file: Path, home: Path) -> None:
        super().__init__(file, home)
        self.directory = home
        self._ready = re.compile(r"ready pop3-proxy\.\S+ 127\.0\.0\.1:(\d+)")


class Wire:
    """A POP3 client that sends what it is told to."""

    opened: ClassVar[list[Wire]] = []

    def __init__(self, port: int) -> None:
        self.opened.append(self)
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")
        self.greeting = self._file.readline()

    def send(self, data: bytes) -> None:
        """Octets as they are."""
        self._socket.sendall(data)

    def line(self) -> bytes:
        """One line."""
        return self._file.readline()

    def ask(self, line: bytes) -> bytes:
        """A line, and its status line."""
        self.send(line + b"\r\n")
        return self.line()

    def body(self) -> bytes:
        """The octets of a multi-line answer as they come, without the final dot."""
        lines = []
        while (line := self.line()) != b".\r\n":
            assert line, lines[-3:]
            lines.append(line)
        return b"".join(lines)

    def fetch(self, line: bytes) -> bytes:
        """A line, and its good multi-line answer, status line included, as it comes."""
        status = self.ask(line)
        assert status.startswith(b"+OK"), status
        return status + self.body()

    def login(self, user: str) -> None:
        """USER and PASS."""
        assert self.ask(b"USER " + user.encode()).startswith(b"+OK")
        assert self.ask(b"PASS " + PASSWORD.encode()).startswith(b"+OK")

    def rest(self) -> bytes:
        """Everything until the end."""
        return self._file.read()

    def close(self) -> None:
        """End."""
        self._file.close()
        self._socket.close()


def write_policy(directory: Path, server: int, items: str = CHAPTER, top: str = "") -> Path:
    """One pop3-proxy before a server at that port."""
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    (directory / "notice.txt").write_text(NOTICE)
    file = directory / "policy.yaml"
    head = f"antivirus:\n  AV: {{protocol: builtin}}\nquarantine: {{directory: {directory / 'quarantine'}}}\n{top}"
    items = f"listen: 127.0.0.1:0\nserver: 127.0.0.1:{server}\n{items}"
    file.write_text(head + "pop3-proxy:\n  POP3:\n" + indent(items, "    "))
    return file


@pytest.fixture(autouse=True)
def close_wires() -> Iterator[None]:
    """Every client is closed at a test's end."""
    yield
    while Wire.opened:
        Wire.opened.pop().close()


@pytest.fixture(scope="session")
def dovecot() -> Iterator[DovecotPop3]:
    """For tests marked `dovecot_pop3` only."""
    with run_dovecot_pop3() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(dovecot: DovecotPop3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunPop3]:
    """The chapter's policy, before Dovecot."""
    home = tmp_path_factory.mktemp("gateway")
    with RunPop3(write_policy(home, dovecot.port), home) as run:
        yield run
