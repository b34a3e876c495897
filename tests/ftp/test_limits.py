"""Many sessions and large files: every file is right, memory stays small, and nothing is left over."""

from __future__ import annotations

import ftplib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.patience import wait_until
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import policy, proxy
from tests.ftp.test_verdicts import fetch
from tests.http import samples
from tests.real.ftp_server import FtpServer

pytestmark = pytest.mark.vsftpd

OwnGateway = Callable[..., FtpGateway]

SESSIONS = 100
LARGE = 1_000_000_000
ROOM = 96 << 20


def test_a_hundred_sessions(own_gateway: OwnGateway, vsftpd: FtpServer) -> None:
    """A hundred at once each store and fetch a file of their own and are refused an infected one; nothing stays."""
    running = own_gateway(policy(proxy(vsftpd.port, more="limits: {per-client: 200}\n")))
    place = Place(running.port, vsftpd.root)
    (place.root / "bad").write_bytes(samples.infected("many", 20_000))
    with place.login() as ftp:
        ftp.pwd()
    assert wait_until(lambda: vsftpd.sessions() == 0, 5)
    before = running.sockets()
    with ThreadPoolExecutor(SESSIONS) as pool:
        outcomes = list(pool.map(lambda n: _converse(place, n), range(SESSIONS)))
    assert outcomes == [(True, True)] * SESSIONS
    assert wait_until(lambda: vsftpd.sessions() == 0, 10)
    assert wait_until(lambda: running.sockets() <= before, 10)
    assert running.spool_files() == []
    assert running.peak_memory() < ROOM
    assert running.crashes() == []


def _converse(place: Place, number: int) -> tuple[bool, bool]:
    data = samples.clean(f"many {number}", 50_000)
    with place.login() as ftp:
        ftp.storbinary(f"STOR many{number}", io.BytesIO(data))
        same = fetch(ftp, f"many{number}") == data
        try:
            fetch(ftp, "bad")
        except ftplib.error_perm as error:
            return same, str(error).startswith("550")
    return same, False


def test_a_client_too_many(own_gateway: OwnGateway, vsftpd: FtpServer) -> None:
    """Beyond `per-client` a client is told 421, and is let in again when another session of its has ended."""
    running = own_gateway(policy(proxy(vsftpd.port, more="limits: {per-client: 2}\n")))
    place = Place(running.port, vsftpd.root)
    with place.login(), place.login() as second:
        with pytest.raises(ftplib.error_temp, match=r"^421"):
            place.login()
        second.quit()
        assert wait_until(lambda: _gets_in(place), 5)


def _gets_in(place: Place) -> bool:
    try:
        with place.login():
            return True
    except (ftplib.Error, EOFError, OSError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_1_gb_both_ways(own_gateway: OwnGateway, vsftpd: FtpServer) -> None:
    """A gigabyte goes down and up whole, spooled and checked, within 96 MB of memory."""
    limited = "antivirus:\n  AV: {protocol: builtin, max-checked-size: 2GB, timeout: 120s}\n"
    more = "limits: {stall: 120s}\n"
    running = own_gateway(policy(proxy(vsftpd.port, more=more), limited, "spool: {max-object: 2GB, max-total: 4GB}\n"))
    with (vsftpd.root / "large").open("wb") as file:
        file.truncate(LARGE)
    counted = 0

    def count(data: bytes) -> None:
        nonlocal counted
        counted += len(data)

    client = Place(running.port, vsftpd.root).login()
    assert client.sock is not None
    client.sock.settimeout(200)
    with client, (vsftpd.root / "large").open("rb") as file:
        client.retrbinary("RETR large", count, blocksize=1 << 20)
        client.storbinary("STOR large-up", file, blocksize=1 << 20)
    assert counted == (vsftpd.root / "large-up").stat().st_size == LARGE
    (vsftpd.root / "large-up").unlink()
    (vsftpd.root / "large").unlink()
    assert running.peak_memory() < ROOM, running.peak_memory() >> 20
    assert wait_until(lambda: running.spool_files() == [], 5)


def test_small_files_do_not_wait(own_gateway: OwnGateway, vsftpd: FtpServer) -> None:
    """Two replies in a row go out at once: a file costs no delayed acknowledgement (40 ms) of the client's."""
    running = own_gateway(policy(proxy(vsftpd.port)))
    (vsftpd.root / "tiny").write_bytes(b"tiny")
    with Place(running.port, vsftpd.root).login() as ftp:
        fetch(ftp, "tiny")
        times = []
        for _ in range(21):
            began = time.monotonic()
            fetch(ftp, "tiny")
            times.append(time.monotonic() - began)
    assert sorted(times)[10] < 0.035
