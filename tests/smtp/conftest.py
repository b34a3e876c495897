"""A real Postfix, and `avsluice run` before it as a process of its own.

Rules of this file: what is sent is raw octets over a socket, for mail clients mend what the tests are about.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.http.run_proxy import RunProxy
from tests.real.postfix_server import PostfixServer, run_postfix

VARIANT_1 = """\
- {name: VIRUS, when: {virus-status: [found]}, action: discard, quarantine: true}
- {name: AV-ERROR, when: {virus-status: [error]}, action: defer}
- {name: AV-UNKNOWN, when: {virus-status: [skipped, unknown]}, action: discard, quarantine: true}
- {name: MAILOK, action: accept}
"""
ACCEPT_ALL = "- {name: ALL, action: accept}\n"


class RunSmtp(RunProxy):
    """One running `avsluice run FILE` with an smtp-proxy."""

    def __init__(self, file: Path, home: Path, *words: str) -> None:
        super().__init__(file, home, *words)
        self.directory = home
        self._ready = re.compile(r"ready smtp-proxy\.\S+ 127\.0\.0\.1:(\d+)")


def queued(reply: bytes) -> str:
    """Under what id Postfix says that it queued a mail."""
    found = re.search(rb"queued as ([0-9A-Za-z]+)", reply)
    assert found, reply
    return found[1].decode()


class Wire:
    """An SMTP client that sends what it is told to."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
        self._file = self._socket.makefile("rb")
        self.greeting = self.reply()

    def reply(self) -> bytes:
        """One whole reply."""
        lines = b""
        while line := self._file.readline():
            lines += line
            if line[3:4] != b"-":
                break
        return lines

    def ask(self, line: bytes) -> bytes:
        """A line, and its reply."""
        self._socket.sendall(line + b"\r\n")
        return self.reply()

    def send(self, data: bytes) -> None:
        """Octets as they are."""
        self._socket.sendall(data)

    def mail(self, wire: bytes, *recipients: bytes) -> bytes:
        """A whole transaction; `wire` are the octets between DATA and the final dot. The last reply."""
        assert self.ask(b"EHLO client.example.org").startswith(b"250")
        assert self.ask(b"MAIL FROM:<a@example.org>").startswith(b"250")
        for recipient in recipients or (b"b@example.com",):
            assert self.ask(b"RCPT TO:<" + recipient + b">").startswith(b"250")
        assert self.ask(b"DATA").startswith(b"354")
        return self.ask(wire + b".")

    def close(self) -> None:
        """End."""
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="session")
def postfix() -> Iterator[PostfixServer]:
    """For tests marked `postfix` only."""
    with run_postfix() as server:
        yield server


def write_policy(directory: Path, server: int, mail_acl: str, listen: int = 0, doc_acl: str = ACCEPT_ALL) -> Path:
    """One smtp-proxy before a server at that port."""
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    items = f"listen: 127.0.0.1:{listen}\nserver: 127.0.0.1:{server}\nuse-antivirus: [AV]\n"
    items += "mail-acl:\n" + indent(mail_acl, "  ") + "doc-acl:\n" + indent(doc_acl, "  ")
    file = directory / "policy.yaml"
    head = f"antivirus:\n  AV: {{protocol: builtin}}\nquarantine: {{directory: {directory / 'quarantine'}}}\n"
    file.write_text(head + "smtp-proxy:\n  SMTP:\n" + indent(items, "    "))
    return file


@pytest.fixture(scope="module")
def gateway(postfix: PostfixServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSmtp]:
    """The chapter's first variant, before Postfix, and where Postfix's filter is expected."""
    home = tmp_path_factory.mktemp("gateway")
    with RunSmtp(write_policy(home, postfix.port, VARIANT_1, postfix.filter_port), home) as run:
        yield run


@pytest.fixture(scope="module")
def unfiltered(postfix: PostfixServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSmtp]:
    """A policy by which every mail passes, odd ones too, once it was checked."""
    home = tmp_path_factory.mktemp("unfiltered")
    with RunSmtp(write_policy(home, postfix.port, ACCEPT_ALL), home) as run:
        yield run


@pytest.fixture
def wire(gateway: RunSmtp) -> Iterator[Wire]:
    """A client of the gateway."""
    client = Wire(gateway.port)
    yield client
    client.close()
