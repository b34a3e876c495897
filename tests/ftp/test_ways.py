"""Ways to a server: active mode, one that fails and the next that serves; and who may come and ask for what."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.ftp_server import FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.ftp.conftest import Certificates, Servers
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import policy, proxy, server_tls
from tests.ftp.test_verdicts import fetch
from tests.ftp.wire import Wire
from tests.http import samples
from tests.real.ftp_server import FtpServer
from tests.real.vsftpd_server import VsftpdServer

pytestmark = [pytest.mark.vsftpd, pytest.mark.proftpd]

Gateway = Callable[..., FtpGateway]


@pytest.mark.parametrize("name", ["vsftpd", "vsftpd-tls", "proftpd", "proftpd-tls"])
def test_active_towards_the_server(gateway: Gateway, servers: Servers, certificates: Certificates, name: str) -> None:
    """With `data-type: active` the server connects to the gateway, for files both ways and listings, and never is it
    asked for a passive port."""
    server = servers.get(name)
    more = "data-type: active\n" + (server_tls(server.tls, certificates.ca) if server.tls != "none" else "")
    running = gateway(policy(proxy(server.port, more=more)))
    passive = server.log().count("PASV") + server.log().count("EPSV")
    move_both_ways(running, server, f"active-{name}")
    assert server.log().count("PASV") + server.log().count("EPSV") == passive


def move_both_ways(running: FtpGateway, server: FtpServer, name: str) -> None:
    """A file goes down, up and into a listing."""
    data = samples.clean(name, 200_000)
    (server.root / name).write_bytes(data)
    with Place(running.port, server.root, server.user, server.password).login() as ftp:
        assert fetch(ftp, name) == data
        ftp.storbinary(f"STOR {name}-up", io.BytesIO(data))
        assert (server.root / f"{name}-up").read_bytes() == data
        assert f"{name}-up" in ftp.nlst()


class NoPassiveServer(VsftpdServer):
    """A vsftpd that refuses EPSV and PASV."""

    def _lines(self) -> Iterator[str]:
        yield from super()._lines()
        yield "pasv_enable=NO"


def test_auto_ends_in_active(gateway: Gateway) -> None:
    """With `data-type: auto` a server that refuses EPSV and PASV is served in active mode."""
    with NoPassiveServer() as server:
        move_both_ways(gateway(policy(proxy(server.port))), server, "auto")


def test_passive_stays_passive(gateway: Gateway) -> None:
    """With `data-type: passive` the refusal of such a server is the client's answer."""
    with NoPassiveServer() as server:
        running = gateway(policy(proxy(server.port, more="data-type: passive\n")))
        (server.root / "file").write_bytes(b"x")
        with Wire(running.port) as wire, wire.login().open_data():
            assert wire.code("RETR file") >= 500


def test_the_next_server(gateway: Gateway, servers: Servers, fakes: LoopThread) -> None:
    """Of several servers one that does not listen and one that says 421 are passed over; the next one serves."""
    real, full = servers.get("vsftpd"), FakeFtpServer()
    fakes.run(full.start())
    full.banner = b"421 too many of you\r\n"
    try:
        more = f"server: ['127.0.0.1:1', '127.0.0.1:{full.port}', '127.0.0.1:{real.port}']\n"
        running = gateway(policy(proxy(None, more=more)))
        (real.root / "third").write_bytes(b"from the third")
        with Place(running.port, real.root).login() as ftp:
            assert fetch(ftp, "third") == b"from the third"
        assert full.sessions == 1
    finally:
        fakes.run(full.close())
    assert running.record_of_path("/third")["server"] == f"127.0.0.1:{real.port}"


def test_who_may_not_come(gateway: Gateway, servers: Servers) -> None:
    """Whom the session-acl denies is greeted with 421 and its name, recorded, and let go; others are served."""
    acl = "session-acl:\n- {name: THIEVES, when: {client: 127.0.0.9}, action: deny}\n- {name: REST, action: permit}\n"
    running = gateway(policy(proxy(servers.get("vsftpd").port, more=acl)))
    with socket.create_connection(("127.0.0.1", running.port), 10, source_address=("127.0.0.9", 0)) as sock:
        told = b""
        while data := sock.recv(1000):
            told += data
    assert told.startswith(b"421 ")
    assert b"THIEVES" in told
    record = running.wait_until(lambda: [r for r in running.records if r["acl"] == "THIEVES"], "a record")[-1]
    assert (record["client"], record["action"], record["reason"]) == ("127.0.0.9", "deny", "acl")
    with Wire(running.port) as wire:
        assert wire.login().code("NOOP") == 200


def test_where_one_may_not_go(gateway: Gateway, servers: Servers) -> None:
    """A session-acl that names servers is asked once USER has said which: 530, and another one may be named."""
    port = servers.get("vsftpd").port
    acl = "session-acl:\n- {name: NOT6, when: {server: '127.0.0.2'}, action: deny}\n- {name: REST, action: permit}\n"
    more = f"user-at-host: true\nserver-allow: ['127.0.0.*:{port}']\n" + acl
    with VsftpdServer(host="127.0.0.2") as other:
        more = more.replace(f":{port}'", "'")
        running = gateway(policy(proxy(None, more=more)))
        with Wire(running.port) as wire:
            assert "NOT6" in (answer := wire.ask(f"USER anonymous@127.0.0.2:{other.port}"))
            assert answer[:3] == "530"
            assert wire.code("PASS x") == 503
            assert wire.login(f"anonymous@127.0.0.1:{port}").code("PWD") == 257
        assert "anonymous" not in other.log()


COMMANDS = """\
command-acl:
- {name: KEEP, commands: [DELE, RMD, SITE CHMOD], action: deny}
- {name: TRAP, commands: [SITE UMASK, MFMT], action: abort}
- {name: REST, action: permit}
"""


def test_commands_that_are_denied(gateway: Gateway, servers: Servers) -> None:
    """`deny` is a 550 that names the ACL, the session goes on, `abort` a 421 and its end; neither reaches the server,
    what is permitted does."""
    server = servers.get("vsftpd")
    running = gateway(policy(proxy(server.port, more=COMMANDS)))
    (server.root / "kept").write_bytes(b"kept")
    with Wire(running.port) as wire:
        wire.login()
        for line in ("DELE kept", "SITE CHMOD 000 kept", "dele kept"):
            assert "KEEP" in (answer := wire.ask(line))
            assert answer[:3] == "550"
        assert wire.code("MKD permitted") == 257
        assert "TRAP" in (answer := wire.ask("SITE UMASK 000"))
        assert answer[:3] == "421"
        assert wire.ended()
    assert (server.root / "kept").stat().st_mode & 0o400
    assert (server.root / "permitted").is_dir()
    assert not any(word in server.log() for word in ("DELE kept", "CHMOD", "UMASK"))


def test_a_list_that_permits_little(gateway: Gateway, servers: Servers, tmp_path: Path) -> None:
    """Where nothing matches a command is denied, an upload before a byte of it comes; QUIT always works."""
    server = servers.get("vsftpd")
    commands = "USER, PASS, TYPE, EPSV, RETR, SIZE"
    acl = f"command-acl: [{{name: READ, commands: [{commands}], action: permit}}]\n"
    running = gateway(policy(proxy(server.port, more=acl)))
    (server.root / "readable").write_bytes(b"readable")
    with Place(running.port, server.root).login("epsv") as ftp:
        assert fetch(ftp, "readable") == b"readable"
    with Wire(running.port) as wire, wire.login().open_data():
        assert wire.code("STOR not-permitted") == 550
        assert wire.code("NOOP") == 550
        assert wire.code("ABOR") == 550
        assert wire.code("QUIT") == 221
    assert not (server.root / "not-permitted").exists()
