"""What attackers try: bounce, theft, injection, stripping, assembly on the server, long lines, reading logs."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ftp.conftest import Certificates
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place, context
from tests.ftp.policies import client_tls, policy, proxy
from tests.ftp.wire import Wire, read_all
from tests.http import samples
from tests.real.ftp_server import FtpServer

pytestmark = pytest.mark.vsftpd

Gateway = Callable[..., FtpGateway]


@pytest.fixture
def running(gateway: Gateway, vsftpd: FtpServer) -> FtpGateway:
    """A gateway before vsftpd."""
    return gateway(policy(proxy(vsftpd.port)))


@pytest.fixture
def wire(running: FtpGateway) -> Iterator[Wire]:
    """A session, logged in."""
    with Wire(running.port) as session:
        yield session.login()


@pytest.mark.parametrize(
    "line",
    [
        "PORT 127,0,0,9,200,10",
        "PORT 192,0,2,7,200,10",
        "PORT 127,0,0,1,0,22",
        "PORT 127,0,0,1,3,255",
        "PORT 127,0,0,1,300,1",
        "PORT 1,2,3",
        "PORT",
        "EPRT |1|127.0.0.9|50000|",
        "EPRT |1|127.0.0.1|22|",
        "EPRT |1|127.0.0.1|99999|",
        "EPRT |2|::1|50000|",
        "EPRT |3|x|50000|",
        "EPRT nonsense",
    ],
)
def test_no_bounce(wire: Wire, line: str) -> None:
    """A data connection goes to the client's own address and to a port from 1024 on, or it is refused."""
    assert 500 <= wire.code(line) < 600
    assert wire.code("RETR nothing") >= 400
    assert wire.code("NOOP") == 200


def test_a_thief_gets_nothing(wire: Wire, vsftpd: FtpServer) -> None:
    """A data connection from another address is dropped without a byte, and its owner is still served."""
    data = samples.clean("theft", 100_000)
    (vsftpd.root / "wanted").write_bytes(data)
    port = wire.passive()
    thief = wire.connect_data(port, source="127.0.0.9")
    wire.send(b"RETR wanted\r\n")
    assert read_all(thief) == b""
    with wire.connect_data(port) as own:
        assert wire.reply().startswith("150")
        assert read_all(own) == data
    assert wire.reply().startswith("226")


def test_a_passive_port_serves_once(wire: Wire, vsftpd: FtpServer) -> None:
    """After the transfer nobody listens on its port any more."""
    (vsftpd.root / "once").write_bytes(b"once")
    port = wire.passive()
    with wire.connect_data(port) as data:
        wire.ask("RETR once")
        assert read_all(data) == b"once"
    wire.reply()
    with pytest.raises(ConnectionRefusedError):
        wire.connect_data(port)


def test_passive_twice(wire: Wire, vsftpd: FtpServer) -> None:
    """The second PASV takes the first one's place."""
    (vsftpd.root / "second").write_bytes(b"second")
    first, second = wire.passive(), wire.passive()
    with pytest.raises(ConnectionRefusedError):
        wire.connect_data(first)
    with wire.connect_data(second) as data:
        wire.ask("RETR second")
        assert read_all(data) == b"second"


@pytest.mark.parametrize("tail", [b"\x00x", b"\rDELE kept", b"\x00\rDELE kept", b"\r\x00x"])
def test_control_characters_in_arguments(wire: Wire, vsftpd: FtpServer, tail: bytes) -> None:
    """A carriage return or a NUL in an argument is a 5xx, and nothing of it reaches the server."""
    (vsftpd.root / "kept").write_bytes(b"kept")
    wire.send(b"MKD inject" + tail + b"\r\n")
    assert wire.reply()[:1] == "5"
    assert wire.code("NOOP") == 200
    assert (vsftpd.root / "kept").exists()
    assert not list(vsftpd.root.glob("inject*"))


@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_a_line_of_a_megabyte(running: FtpGateway, end: bytes) -> None:
    """It is answered 500 at the most, the connection is closed, and no part of it is taken for a command."""
    before = running.memory()
    with Wire(running.port) as session:
        session.login()
        try:
            session.send(b"CWD " + b"a" * 1_000_000 + end + b"\r\nMKD executed\r\n")
        except OSError:
            pass
        answer = session.reply()
        assert answer[:3] in ("", "421", "500"), answer
        assert session.ended()
    assert running.memory() - before < 8 << 20


def test_many_sessions_without_a_login(running: FtpGateway) -> None:
    """Nothing that needs a login works before it."""
    with Wire(running.port) as session:
        for line in ("PASV", "EPSV", "RETR x", "STOR x", "LIST", "PWD", "CWD x", "DELE x", "MKD x", "SITE HELP"):
            assert session.code(line) >= 500, line


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("MODE Z", (504, 502)),
        ("MODE S", (200,)),
        ("STRU R", (504, 502)),
        ("STRU F", (200,)),
        ("TYPE E", (504, 501, 500)),
        ("COMB all one two", (500, 502)),
        ("SITE CPFR one", (500, 502)),
        ("SITE COMBINE one two", (500, 502)),
        ("SITE SYMLINK one two", (500, 502)),
        ("SITE EXEC id", (500, 502)),
        ("XYZZY", (500, 502)),
        ("EPSV 9", (522,)),
        ("CCC", (500, 502, 503, 533, 534)),
        ("SSCN ON", (500, 502)),
        ("RANG 1 2", (500, 502)),
        ("REST -1", (501,)),
        ("REST x", (501,)),
    ],
)
def test_commands_out_of_the_way(wire: Wire, line: str, codes: tuple[int, ...]) -> None:
    """What would go past the check, or is not known, is refused; what everybody may ask for is answered."""
    assert wire.code(line) in codes
    assert wire.code("NOOP") == 200


def test_epsv_all(wire: Wire) -> None:
    """After EPSV ALL the other ways are refused (RFC 2428, 4)."""
    assert wire.code("EPSV ALL") == 200
    for line in ("PASV", "PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|50000|"):
        assert wire.code(line) >= 500


def test_features_are_ours(wire: Wire) -> None:
    """FEAT names nothing that the gateway refuses."""
    named = {line.strip().split(" ")[0].upper() for line in wire.ask("FEAT").splitlines()[1:-1]}
    assert named.isdisjoint({"MODE", "SSCN", "CPSV", "COMB", "SITE", "RANG", "AUTH", "PROT", "PBSZ", "XCRC"})
    assert named >= {"SIZE", "MDTM", "EPSV", "REST"}


def test_lines_behind_auth_are_not_executed(gateway: Gateway, vsftpd: FtpServer, certificates: Certificates) -> None:
    """What was sent in plain behind AUTH TLS is never taken for a command of the secured session."""
    running = gateway(policy(proxy(vsftpd.port, more=client_tls("starttls", certificates.pem))))
    with Wire(running.port) as session:
        session.send(b"AUTH TLS\r\nUSER anonymous\r\nPASS x\r\nMKD injected\r\n")
        answer = session.reply()
        try:
            place = Place(running.port, vsftpd.root, ca=str(certificates.ca))
            secured = context(place).wrap_socket(session.sock, server_hostname="127.0.0.1")
        except (OSError, ssl.SSLError):
            pass
        else:
            with secured:
                secured.settimeout(1)
                with contextlib.suppress(OSError):
                    assert secured.recv(100) == b""  # nobody answers what was injected
        assert answer[:3] in ("234", "421", "503", "")
    assert not (vsftpd.root / "injected").exists()


@pytest.mark.parametrize("before", [b"", b"FEAT\r\n", b"NOOP\r\n" * 20, b"AUTH X\r\n"])
def test_what_stands_before_auth_opens_no_way_behind_it(
    gateway: Gateway, vsftpd: FtpServer, certificates: Certificates, before: bytes
) -> None:
    """However many commands come before AUTH, TLS does not begin where a plain line came behind it."""
    running = gateway(policy(proxy(vsftpd.port, more=client_tls("starttls", certificates.pem))))
    with Wire(running.port) as session:
        session.send(before + b"AUTH TLS\r\nUSER anonymous\r\n")
        answers = []
        while answer := session.reply():
            answers.append(answer[:3])
    assert len(answers) == before.count(b"\n")
    assert "234" not in answers


def test_no_login_in_plain_where_tls_is_asked_for(
    gateway: Gateway, vsftpd: FtpServer, certificates: Certificates
) -> None:
    """With `tls: starttls` neither the login nor a data connection may go in plain."""
    running = gateway(policy(proxy(vsftpd.port, more=client_tls("starttls", certificates.pem))))
    with Wire(running.port) as session:
        assert session.code("USER anonymous") >= 421
    place = Place(running.port, vsftpd.root, tls="starttls", ca=str(certificates.ca))
    with place.login() as ftp:
        with pytest.raises(Exception, match=r"^5"):
            ftp.sendcmd("PROT C")
        with pytest.raises(Exception, match=r"^5"):
            ftp.sendcmd("CCC")


def test_a_server_without_tls_is_not_spoken_to(gateway: Gateway, vsftpd: FtpServer, certificates: Certificates) -> None:
    """Where the policy asks for TLS to the server and it has none, the session ends before any name is sent."""
    more = f"server-tls: {{mode: starttls, ca: '{certificates.ca}'}}\n"
    running = gateway(policy(proxy(vsftpd.port, more=more)))
    with Wire(running.port) as session:
        last = session.welcome if session.welcome[:1] != "2" else session.ask("USER not-to-be-seen")
        assert last[:3] in ("421", "530")
    assert "not-to-be-seen" not in vsftpd.log()


def test_no_password_in_any_log(own_gateway: Gateway, vsftpd: FtpServer, tmp_path: Path) -> None:
    """Neither good nor bad passwords appear in the log or the records, in asyncio's debug mode either."""
    running = own_gateway(policy(proxy(vsftpd.port)), env={"PYTHONASYNCIODEBUG": "1"})
    for user, word in (("anonymous", "first-secret-word"), ("nobody", "second-secret-word")):
        with Wire(running.port) as session:
            session.login(user, word)
            session.send(f"PASS {word}\x00\r\nACCT {word}\r\nPASS\t{word}\r\npass  {word}\r\n".encode())
            for _ in range(4):
                session.reply()
            session.ask("QUIT")
    running.stop()
    text = "\n".join(running.lines)
    assert not re.search(r"(first|second)-secret-word", text)


def test_user_at_host(gateway: Gateway, vsftpd: FtpServer) -> None:
    """The user names the server behind the last @; one that is not allowed is a 530, and nobody connects to it."""
    more = f"user-at-host: true\nserver-allow: ['127.0.0.1:{vsftpd.port}']\n"
    running = gateway(policy(proxy(None, more=more)))
    (vsftpd.root / "named").write_bytes(b"named")
    with Wire(running.port) as session:
        session.login(f"anonymous@127.0.0.1:{vsftpd.port}")
        with session.open_data() as data:
            assert session.ask("RETR named").startswith("150")
            assert read_all(data) == b"named"
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        with Wire(running.port) as session:
            assert session.code(f"USER anonymous@127.0.0.1:{other.getsockname()[1]}") in (530, 331)
            assert session.code("PASS x") in (530, 503)
        with pytest.raises(BlockingIOError):
            other.accept()
    with Wire(running.port) as session:
        assert session.code("USER anonymous") >= 500


def test_ipv6(gateway: Gateway, vsftpd: FtpServer, servers: object) -> None:
    """Over ::1 a file comes by EPSV and by EPRT, from a server on ::1, too, and PASV is refused."""
    behind: FtpServer = servers.get("vsftpd", "::1")  # type: ignore[attr-defined]
    running = gateway(policy(proxy(f"[::1]:{behind.port}", host="::1")))
    data = samples.clean("six", 50_000)
    (behind.root / "six").write_bytes(data)
    for way in ("epsv", "eprt"):
        place = Place(running.port, behind.root, host="::1")
        with place.login(way) as ftp:  # type: ignore[arg-type]
            got: list[bytes] = []
            ftp.retrbinary("RETR six", got.append)
            assert b"".join(got) == data
    with Wire(running.port, "::1") as session:
        session.login()
        assert session.code("PASV") >= 400
