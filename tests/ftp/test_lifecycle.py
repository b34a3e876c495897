"""Ends and reloads of a running gateway, amid transfers; and what a process of it shows to its administrator."""

from __future__ import annotations

import ftplib
import io
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.patience import wait_until
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import policy, proxy
from tests.ftp.test_verdicts import fetch
from tests.ftp.wire import Wire, read_all
from tests.http import samples
from tests.http.policies import TRICKLE, builtin, clamav
from tests.http.proxy import ROOT
from tests.http.slow_engine import SlowEngine
from tests.real.ftp_server import FtpServer, free_port

pytestmark = pytest.mark.vsftpd

OwnGateway = Callable[..., FtpGateway]
DATA = samples.clean("lifecycle", 40_000)


def begin(running: FtpGateway, engine: SlowEngine, name: str) -> tuple[Wire, int]:
    """A session with a RETR whose check is under way; and where its data comes from."""
    wire = Wire(running.port).login()
    port = wire.passive()
    scans = engine.open
    wire.send(f"RETR {name}\r\n".encode())
    assert wait_until(lambda: engine.open > scans, 5)
    return wire, port


def is_reset(sock: socket.socket) -> bool:
    """Whether what still comes ends in a reset."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def test_a_transfer_ends_before_the_gateway(own_gateway: OwnGateway, engine: SlowEngine, vsftpd: FtpServer) -> None:
    """SIGTERM: nobody new is let in, an idle session gets 421, the transfer ends whole, then the process with 0."""
    running = own_gateway(policy(proxy(vsftpd.port), clamav(engine.port)))
    (vsftpd.root / "drained").write_bytes(DATA)
    engine.delay = 1.0
    with Wire(running.port) as idle:
        wire, port = begin(running, engine, "drained")
        with wire, wire.connect_data(port) as data:
            running.signal(signal.SIGTERM)
            assert idle.reply()[:3] == "421"
            with pytest.raises(ConnectionRefusedError):
                Wire(running.port)
            assert wire.reply()[:3] == "150"
            assert read_all(data) == DATA
            assert wire.reply()[:3] == "226"
            assert wire.reply()[:3] in ("421", "")
    assert running.wait(5) == 0
    assert running.crashes() == []


@pytest.mark.parametrize("again", [False, True], ids=["patience", "second signal"])
def test_a_transfer_is_cut(own_gateway: OwnGateway, engine: SlowEngine, vsftpd: FtpServer, again: bool) -> None:
    """After `av_drain`, or at a second SIGTERM, what trickles is reset and recorded as cut; exit 0."""
    words = [] if again else ["--set", "av_drain=400ms"]
    running = own_gateway(policy(proxy(vsftpd.port, TRICKLE), clamav(engine.port)), "FTP", words=words)
    (vsftpd.root / "cut-short").write_bytes(DATA)
    engine.delay = 20.0
    wire, port = begin(running, engine, "cut-short")
    with wire, wire.connect_data(port) as data:
        assert wire.reply()[:3] == "150"
        assert data.recv(1)
        running.signal(signal.SIGTERM)
        running.wait_for_line("no new connections")
        if again:
            running.signal(signal.SIGTERM)
        assert is_reset(data)
        assert wire.reply()[:1] in ("4", "")
    assert running.wait(5) == 0
    record = running.record_of_path("/cut-short")
    assert (record["action"], record["status"]) == ("cut", "error")
    assert running.crashes() == []


def test_a_reload_amid_a_transfer(own_gateway: OwnGateway, engine: SlowEngine, vsftpd: FtpServer) -> None:
    """SIGHUP: what is under way ends under the old policy, the next command of the same session meets the new one, and
    a broken policy changes nothing; each is logged."""
    good = policy(proxy(vsftpd.port), clamav(engine.port))
    running = own_gateway(good)
    (vsftpd.root / "reloaded").write_bytes(DATA)
    engine.delay = 0.7
    wire, port = begin(running, engine, "reloaded")
    with wire, wire.connect_data(port) as data:
        running.file.write_text(good.replace("antivirus: [AV]", "action: deny"))
        running.signal(signal.SIGHUP)
        running.wait_for_line(r"ftp-proxy\.FTP: the new policy is in force")
        assert wire.reply()[:3] == "150"
        assert read_all(data) == DATA
        assert wire.reply()[:3] == "226"
        with wire.open_data():
            assert "CHECKED" in (answer := wire.ask("RETR reloaded"))
            assert answer[:3] == "550"
        running.file.write_text("ftp-proxy: {FTP: {}}\n")
        running.signal(signal.SIGHUP)
        running.wait_for_line("the policy stays as it was")
        with wire.open_data():
            assert wire.code("RETR reloaded") == 550
    assert running.crashes() == []


def test_top_shows_a_transfer(own_gateway: OwnGateway, engine: SlowEngine, vsftpd: FtpServer) -> None:
    """`avsluice top` tells of a file that is being checked, of one that trickles and of an upload."""
    address = f"127.0.0.1:{free_port()}"
    top = f"metrics: {{listen: '{address}'}}\n"
    running = own_gateway(policy(proxy(vsftpd.port, TRICKLE), clamav(engine.port), top))
    (vsftpd.root / "long").write_bytes(DATA)
    (vsftpd.root / "tiny").write_bytes(b"tiny")
    engine.delay = 20.0
    first, port = begin(running, engine, "long")
    second, _ = begin(running, engine, "tiny")
    with first, second, Wire(running.port) as third, first.connect_data(port) as data, third.login().open_data() as up:
        assert first.reply()[:3] == "150"
        assert data.recv(1)
        assert third.code("STOR up") == 150
        up.sendall(b"begun")
        told = {}

        def ask() -> bool:
            done = avsluice("top", address, "--json")
            told.update({entry["object"].rpartition("/")[2]: entry for entry in json.loads(done)})
            return set(told) == {"long", "tiny", "up"} and told["up"]["received"] == 5

        assert wait_until(ask, 10), told
    assert (told["long"]["phase"], told["long"]["received"]) == ("trickling", len(DATA))
    assert told["long"]["sent"] > 0
    assert (told["tiny"]["phase"], told["tiny"]["sent"], told["tiny"]["client"]) == ("checking", 0, "127.0.0.1")
    assert (told["up"]["phase"], told["up"]["direction"]) == ("receiving", "upload")
    assert {entry["proxy"] for entry in told.values()} == {"ftp-proxy.FTP"}


def avsluice(*words: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "avsluice", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_kept(own_gateway: OwnGateway, vsftpd: FtpServer, tmp_path: Path) -> None:
    """With `quarantine: true` what was refused is kept, both ways, and `avsluice quarantine list` tells of it."""
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)
    top = f"quarantine: {{directory: '{kept}'}}\n"
    running = own_gateway(policy(proxy(vsftpd.port, "quarantine: true\n"), builtin(), top))
    (vsftpd.root / "keep-me").write_bytes(samples.EICAR)
    with Place(running.port, vsftpd.root).login() as ftp:
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            fetch(ftp, "keep-me")
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            ftp.storbinary("STOR keep-too", io.BytesIO(b"x" + samples.EICAR))
    listed = [json.loads(line) for line in avsluice("quarantine", "list", str(running.file), "--json").splitlines()]
    assert {entry["object"].rpartition("/")[2]: entry["direction"] for entry in listed} == {
        "keep-me": "download",
        "keep-too": "upload",
    }
    record = running.record_of_path("/keep-me")
    assert record["quarantine"] in {entry["id"] for entry in listed}
    assert (kept / f"{record['quarantine']}.data").read_bytes() == samples.EICAR


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_user_is_dropped_to(own_gateway: OwnGateway, engine: SlowEngine, vsftpd: FtpServer) -> None:
    """With `user` the process that serves is that user's, for good, and serves."""
    running = own_gateway(policy(proxy(vsftpd.port, more="user: nobody\n"), clamav(engine.port)))
    (vsftpd.root / "served").write_bytes(b"by nobody")
    with Place(running.port, vsftpd.root).login() as ftp:
        assert fetch(ftp, "served") == b"by nobody"
    status = Path(f"/proc/{running.pid}/status").read_text()
    owner = str(pwd.getpwnam("nobody").pw_uid)
    assert next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:] == [owner] * 4
