"""Clients that leave or change their mind: nothing half stored, nothing left over, replies in order."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.fakes.ftp_server import FakeFtpServer
from tests.fakes.patience import wait_until
from tests.ftp.conftest import DATA
from tests.ftp.gateway import FtpGateway
from tests.ftp.wire import Wire, read_all
from tests.http.slow_engine import SlowEngine


def fetch(wire: Wire) -> bytes:
    """RETR of the clean file."""
    with wire.connect_data(wire.passive()) as data:
        assert wire.ask("RETR file")[:3] == "150"
        got = read_all(data)
    assert wire.reply()[:3] == "226"
    return got


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


PHASES = (
    "greeted",
    "logged in",
    "passive",
    "before 150",
    "in the trickle",
    "in the upload",
    "in the check of an upload",
)


def leave(phase: str, running: FtpGateway, engine: SlowEngine, way: Callable[[socket.socket], object]) -> None:
    """A client that goes in that phase."""
    session = Wire(running.port)
    if phase != "greeted":
        session.login()
    data = session.open_data() if phase not in ("greeted", "logged in") else None
    if phase == "before 150":
        engine.delay = 1.0
        session.send(b"RETR short\r\n")
    elif phase == "in the trickle":
        engine.delay = 3.0
        session.ask("RETR bad")
        assert data is not None
        assert data.recv(1)
    elif phase.startswith("in the"):
        engine.delay = 3.0
        session.ask("STOR left")
        assert data is not None
        data.sendall(DATA)
    if phase == "in the check of an upload":
        scans = engine.streams
        assert data is not None
        data.close()
        assert wait_until(lambda: engine.streams > scans, 5)
    way(session.sock)
    if data is not None and data.fileno() >= 0:
        way(data)


@pytest.mark.parametrize("way", [socket.socket.close, reset], ids=["close", "reset"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves(
    running: FtpGateway, engine: SlowEngine, upstream: FakeFtpServer, phase: str, way: Callable[[socket.socket], object]
) -> None:
    """Nothing is stored that was not confirmed to anybody before its end, and no socket, spool or session stays."""
    upstream.files["short"] = b"short"
    assert wait_until(lambda: upstream.open == 0, 5)
    before = running.sockets()
    leave(phase, running, engine, way)
    engine.delay = 0.0
    assert wait_until(lambda: upstream.open == 0, 8)
    assert wait_until(lambda: running.sockets() <= before, 8)
    assert wait_until(lambda: not running.spool_files(), 5)
    if "upload" in phase:
        assert upstream.commands("STOR") == []


def test_a_control_connection_lost_amid_an_upload(running: FtpGateway, upstream: FakeFtpServer, wire: Wire) -> None:
    """A proper end of the data after the control connection has gone is no complete upload."""
    data = wire.open_data()
    wire.ask("STOR lost")
    data.sendall(DATA[:10_000])
    reset(wire.sock)
    assert wait_until(lambda: upstream.open == 0, 8)
    data.close()
    assert upstream.commands("STOR") == []


def test_an_upload_that_is_reset(wire: Wire, upstream: FakeFtpServer) -> None:
    """A data connection that is reset is no upload: 4xx, and the server hears nothing of it."""
    with wire.open_data() as data:
        wire.ask("STOR cut")
        data.sendall(DATA[:10_000])
        reset(data)
    assert wire.reply()[:1] == "4"
    assert upstream.commands("STOR") == []


def test_abort_when_idle(wire: Wire) -> None:
    """ABOR without a transfer is a 225 or 226, as urgent data with Telnet's own signals, too."""
    assert wire.code("ABOR") in (225, 226)
    wire.sock.sendall(b"\xff\xf4\xff", socket.MSG_OOB)
    wire.send(b"\xf2ABOR\r\n")
    assert int(wire.reply()[:3]) in (225, 226)
    assert wire.code("NOOP") == 200


def test_abort_in_the_trickle(wire: Wire, engine: SlowEngine) -> None:
    """ABOR ends the transfer: 4xx for it, then 226 for the abort, and the session goes on."""
    engine.delay = 3.0
    with wire.open_data() as data:
        assert wire.ask("RETR bad").startswith("1")
        assert data.recv(1)
        assert wire.code("ABOR") in (426, 451)
        assert wire.reply()[:3] == "226"
    engine.delay = 0.0
    assert fetch(wire) == DATA


def test_abort_in_an_upload(wire: Wire, upstream: FakeFtpServer) -> None:
    """ABOR amid an upload: nothing of it is stored."""
    with wire.open_data() as data:
        wire.ask("STOR aborted")
        data.sendall(DATA[:10_000])
        assert wire.code("ABOR") in (426, 451)
        assert wire.reply()[:3] == "226"
    assert upstream.commands("STOR") == []
    assert wire.code("NOOP") == 200


def test_commands_during_a_transfer_wait(wire: Wire, engine: SlowEngine) -> None:
    """NOOP and PWD amid a download are answered in order, after its 226."""
    engine.delay = 0.7
    with wire.open_data() as data:
        assert wire.ask("RETR file").startswith("150")
        wire.send(b"NOOP\r\nPWD\r\n")
        assert read_all(data) == DATA
    assert [wire.reply()[:3] for _ in range(3)] == ["226", "200", "257"]


def test_pipelined_commands(wire: Wire) -> None:
    """Commands that were sent at once are answered in order, quit last of all."""
    wire.send(b"NOOP\r\nPWD\r\nCWD x\r\nSYST\r\nQUIT\r\n")
    assert [wire.reply()[:3] for _ in range(5)] == ["200", "257", "250", "215", "221"]
    assert wire.ended()


def test_a_data_connection_that_nobody_opens(running: FtpGateway, upstream: FakeFtpServer) -> None:
    """RETR without PASV is a 425, and so, in bounded time, is one whose data connection never comes."""
    with Wire(running.port) as session:
        session.login()
        assert session.code("RETR file") in (425, 503)
        session.passive()
        assert session.code("RETR file") == 425
        assert session.code("NOOP") == 200
