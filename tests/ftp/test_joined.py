"""Two clients who put a file together out of parts, each of which is clean."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.ftp.gateway import FtpGateway
from tests.ftp.policies import policy, proxy
from tests.ftp.wire import Wire
from tests.http import samples
from tests.real.ftp_server import FtpServer
from tests.real.proftpd_server import ProftpdServer

pytestmark = pytest.mark.vsftpd

HEAD, TAIL = samples.EICAR[:34], samples.EICAR[34:]


@pytest.fixture
def two(gateway: Callable[..., FtpGateway], vsftpd: FtpServer) -> Iterator[tuple[Wire, Wire]]:
    """Two sessions, logged in."""
    running = gateway(policy(proxy(vsftpd.port)))
    with Wire(running.port) as one, Wire(running.port) as other:
        yield one.login(), other.login()


@contextlib.contextmanager
def uploading(wire: Wire, line: str) -> Iterator[socket.socket]:
    """An upload that has begun; it ends with the block."""
    with wire.open_data() as data:
        assert wire.ask(line).startswith("150")
        yield data


def upload(wire: Wire, line: str, content: bytes) -> str:
    """One upload; its last reply."""
    with uploading(wire, line) as data:
        data.sendall(content)
    return wire.reply()


def test_two_halves_at_once(two: tuple[Wire, Wire], vsftpd: FtpServer) -> None:
    """Of two who append a half each to a file that is not there yet, only one comes through."""
    one, other = two
    with uploading(one, "APPE halves") as first, uploading(other, "APPE halves") as second:
        first.sendall(HEAD)
        second.sendall(TAIL)
    assert sorted(wire.reply()[:3] for wire in two) == ["226", "451"]
    assert (vsftpd.root / "halves").read_bytes() in (HEAD, TAIL)


def test_the_other_half_is_laid_under_it(two: tuple[Wire, Wire], vsftpd: FtpServer) -> None:
    """Who sends the tail of a file is refused if its beginning became another one after it was looked at."""
    one, other = two
    clean = samples.clean("joined", 68)
    assert upload(one, "STOR laid", clean).startswith("226")
    one.ask("REST 34")
    with uploading(one, "STOR laid") as data:
        data.sendall(TAIL)
        assert upload(other, "STOR laid", HEAD).startswith("226")
    assert one.reply().startswith("451")
    assert (vsftpd.root / "laid").read_bytes() == HEAD


def test_a_tail_is_still_laid_on(two: tuple[Wire, Wire], vsftpd: FtpServer) -> None:
    """What nobody touched meanwhile is continued, by APPE and by REST."""
    one, _ = two
    clean = samples.clean("continued", 3_000)
    assert upload(one, "APPE continued", clean[:1000]).startswith("226")
    assert upload(one, "APPE continued", clean[1000:2000]).startswith("226")
    one.ask("REST 2000")
    assert upload(one, "STOR continued", clean[2000:]).startswith("226")
    assert (vsftpd.root / "continued").read_bytes() == clean


@pytest.mark.proftpd
@pytest.mark.parametrize("limited", ["READ RNFR", "READ RNFR SIZE MDTM"])
def test_a_directory_that_may_only_be_written(
    gateway: Callable[..., FtpGateway], limited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody may see what is there, nothing is appended to it."""
    lines = ProftpdServer._lines
    monkeypatch.setattr(
        ProftpdServer, "_lines", lambda self: [*lines(self), f"<Limit {limited}>", "DenyAll", "</Limit>"]
    )
    with ProftpdServer() as server, Wire(gateway(policy(proxy(server.port))).port) as wire:
        wire.login(server.user, server.password)
        assert upload(wire, "STOR half", HEAD).startswith("226")
        assert wire.code("RNFR half") == 550
        with wire.open_data():
            assert wire.ask("APPE half").startswith("550")
        assert (server.root / "half").read_bytes() == HEAD


def test_the_type_is_that_of_the_whole(gateway: Callable[..., FtpGateway], vsftpd: FtpServer) -> None:
    """What is appended does not count as an image because it begins like one: the joined file is looked at."""
    images = "- {name: IMAGES, when: {magic: [image/*]}}\n"
    running = gateway(policy(proxy(vsftpd.port, before=images)))
    with Wire(running.port) as wire:
        wire.login()
        assert upload(wire, "STOR picture", b"\x89PNG\r\n\x1a\n" + samples.EICAR).startswith("226")
        assert upload(wire, "STOR program", samples.clean("program", 5_000)).startswith("226")
        assert upload(wire, "APPE program", b"\x89PNG\r\n\x1a\n" + samples.EICAR).startswith("550")
