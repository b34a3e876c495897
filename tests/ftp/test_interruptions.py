"""Who breaks off amid a command: what the server still owes, or still holds, must not become part of the next one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.ftp_server import Conversation, FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.fakes.patience import wait_until
from tests.ftp.gateway import FtpGateway
from tests.ftp.policies import policy, proxy
from tests.ftp.wire import Wire
from tests.http import samples

DATA = samples.clean("interruptions", 4_000)
LATE = 0.2  # seconds


@pytest.fixture(scope="module")
def fake_server(fakes: LoopThread) -> Iterator[FakeFtpServer]:
    """The server itself; tests take `upstream`, which forgets the last test."""
    server = FakeFtpServer()
    fakes.run(server.start())
    yield server
    fakes.run(server.close())


@pytest.fixture
def upstream(fake_server: FakeFtpServer) -> FakeFtpServer:
    """With one file."""
    fake_server.reset()
    fake_server.files = {"file": DATA}
    return fake_server


@pytest.fixture
def running(gateway: Callable[..., FtpGateway], upstream: FakeFtpServer) -> FtpGateway:
    """A gateway before it that waits a second for who says nothing."""
    return gateway(policy(proxy(upstream.port, more="limits: {stall: 1s, header: 2s, idle: 20s}\n")))


@pytest.fixture
def wire(running: FtpGateway) -> Iterator[Wire]:
    """A session, logged in."""
    with Wire(running.port) as session:
        yield session.login()


def store(wire: Wire, name: str) -> str:
    """STOR; the last reply."""
    with wire.open_data() as data:
        answer = wire.ask(f"STOR {name}")
        if answer.startswith("1"):
            data.sendall(DATA)
    return wire.reply() if answer.startswith("1") else answer


def abort(wire: Wire) -> None:
    """ABOR, until its 226."""
    wire.send(b"ABOR\r\n")
    while not wire.reply().startswith("226"):
        pass


def say_late(text: str, only: str = "") -> Callable[[Conversation, str], object]:
    """A script that answers late, where the argument begins so, else at once."""

    async def script(conversation: Conversation, argument: str) -> None:
        if argument.startswith(only):
            await asyncio.sleep(LATE)
        conversation.say(text)

    return script


def test_the_type_is_right_after_an_abort(wire: Wire, upstream: FakeFtpServer) -> None:
    """A STOR behind a LIST that was broken off amid TYPE A goes out in TYPE I, whatever became of that TYPE A."""
    assert store(wire, "before").startswith("226")
    upstream.scripts["TYPE"] = say_late("200 so be it", only="A")  # type: ignore[assignment]
    wire.ask("TYPE A")
    with wire.open_data():
        wire.send(b"LIST\r\n")
        assert wait_until(lambda: bool(upstream.commands("TYPE A")), 5)
        abort(wire)
    wire.ask("TYPE I")
    assert store(wire, "after").startswith("226")
    words = [line.split() for line in upstream.lines]
    before = words[: words.index([b"STOR", b"after"])]
    assert [word for word in before if word[0] == b"TYPE"][-1] == [b"TYPE", b"I"]


def test_a_restart_does_not_outlive_an_abort(wire: Wire, upstream: FakeFtpServer) -> None:
    """A STOR behind one that was broken off amid REST begins at 0: the server is told so."""
    upstream.scripts["REST"] = say_late("350 from there")  # type: ignore[assignment]
    wire.ask("REST 1000")
    with wire.open_data() as data:
        assert wire.ask("STOR file").startswith("150")
        data.sendall(DATA)
        data.shutdown(socket.SHUT_WR)
        assert wait_until(lambda: bool(upstream.commands("REST")), 5)
        abort(wire)
    assert not upstream.commands("STOR")
    assert store(wire, "file").startswith("226")
    words = [line.split() for line in upstream.lines]
    before = words[: words.index([b"STOR", b"file"])]
    assert [word for word in before if word[0] == b"REST"][-1] == [b"REST", b"0"]


def test_a_reply_that_comes_too_late_answers_nothing_else(wire: Wire, upstream: FakeFtpServer) -> None:
    """A server that tells a size after our patience has ended is not taken to have answered the next command."""

    async def tell_much_later(conversation: Conversation, _argument: str) -> None:
        await asyncio.sleep(1.5)
        conversation.say("213 7777")

    upstream.scripts["SIZE"] = tell_much_later
    with wire.open_data():
        assert wire.ask("RETR file").startswith("451")
    assert wire.ask("PWD")[:3] in ("257", "421")


def test_a_client_that_reads_no_replies(running: FtpGateway, upstream: FakeFtpServer) -> None:
    """Who sends commands and takes no replies is read no further, and costs little memory."""
    upstream.scripts["STAT"] = say_late("211-much\r\n" + (" " + "much " * 8000 + "\r\n") * 4 + "211 End", only="never")  # type: ignore[assignment]
    with Wire(running.port) as session:
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        session.login()
        before = running.memory()
        session.send(b"STAT\r\n" * 10_000)
        assert not wait_until(lambda: len(upstream.commands("STAT")) > 300, 3)
        assert running.memory() - before < 64 << 20
