"""TLS on both sides: many data connections of one session, listings as they are, and a cut that no client mistakes."""

from __future__ import annotations

import ftplib
import io
from collections.abc import Callable

import pytest

from tests.ftp.conftest import Certificates, Crossings, Servers
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import client_tls, policy, proxy
from tests.ftp.test_trickle import Taken
from tests.ftp.test_verdicts import fetch
from tests.http import samples
from tests.http.policies import LIMIT, TRICKLE, clamav
from tests.http.slow_engine import SlowEngine

pytestmark = [pytest.mark.vsftpd, pytest.mark.proftpd]


@pytest.mark.parametrize("server", ["vsftpd-tls", "proftpd-tls"])
def test_many_transfers_in_one_session(crossings: Crossings, server: str) -> None:
    """Before servers that demand that data connections resume the session, six files in turn come and go."""
    place = crossings.place(server, "starttls")
    with place.login() as ftp:
        for number in range(3):
            data = samples.clean(f"{server} {number}", 50_000)
            ftp.storbinary(f"STOR turn{number}", io.BytesIO(data))
            assert fetch(ftp, f"turn{number}") == (place.root / f"turn{number}").read_bytes() == data


LISTINGS = ["LIST", "NLST", "LIST -a", "MLSD", "NLST nothing", "LIST one"]


@pytest.mark.parametrize("command", LISTINGS)
@pytest.mark.parametrize("server", ["vsftpd-tls", "proftpd", "proftpd-tls"])
def test_listings_are_the_servers(crossings: Crossings, servers: Servers, server: str, command: str) -> None:
    """A listing's lines, or its refusal, are those that the server itself gives."""
    folder = servers.get(server).root / "listed"
    folder.mkdir(exist_ok=True)
    for name in ("one", "two words", "ü"):
        (folder / name).write_bytes(samples.EICAR)
    told = [list_there(place, command) for place in (servers.place(server), crossings.place(server, "starttls"))]
    assert told[0] == told[1]


def list_there(place: Place, command: str) -> tuple[list[str], str]:
    """The lines, and the last word."""
    with place.login("epsv") as ftp:
        ftp.cwd(str(place.root / "listed"))
        lines: list[str] = []
        try:
            return lines, ftp.retrlines(command, lines.append)
        except ftplib.Error as error:
            return lines, str(error)


@pytest.mark.parametrize("line", ["MLST one", "STAT one", "SIZE one", "MDTM one", "SYST", "MLST none"])
def test_facts_are_the_servers(crossings: Crossings, servers: Servers, line: str) -> None:
    """What is told of a file without a data connection is the server's, word for word."""
    folder = servers.get("proftpd").root / "told"
    folder.mkdir(exist_ok=True)
    (folder / "one").write_bytes(samples.EICAR)
    told = []
    for place in (servers.place("proftpd"), crossings.place("proftpd", "none")):
        with place.login() as ftp:
            ftp.voidcmd("TYPE I")
            ftp.cwd(str(folder))
            ftp.putcmd(line)
            told.append(ftp.getmultiline())
    assert told[0] == told[1]


def test_a_cut_inside_tls(
    gateway: Callable[..., FtpGateway], servers: Servers, certificates: Certificates, engine: SlowEngine
) -> None:
    """What trickled inside TLS and is infected ends in a reset, never in TLS's own end of data, and then in a 550."""
    server = servers.get("vsftpd")
    secured = client_tls("starttls", certificates.pem)
    running = gateway(policy(proxy(server.port, TRICKLE, more=secured), clamav(engine.port)))
    (server.root / "cut-in-tls").write_bytes(samples.infected("cut in tls", 40_000))
    engine.delay = 0.7
    with Place(running.port, server.root, tls="starttls", ca=str(certificates.ca)).login() as ftp:
        ftp.voidcmd("TYPE I")
        taken = Taken(ftp, "RETR cut-in-tls")
    assert taken.failed in ("ConnectionResetError", "SSLEOFError")
    assert taken.reply.startswith("550")
    assert 0 < len(taken.data) <= LIMIT
