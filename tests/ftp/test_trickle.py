"""Slow checks of downloads: bytes trickle, a clean file arrives whole, and of an infected one nobody keeps more than
the first `limit` bytes nor is told of success, however often it tries."""

from __future__ import annotations

import ftplib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.programs import Run, run
from tests.ftp.clients import CLIENTS, Client
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import policy, proxy
from tests.http import samples
from tests.http.policies import CHUNK, LIMIT, TRICKLE, clamav
from tests.http.slow_engine import SlowEngine
from tests.real.ftp_server import FtpServer

pytestmark = pytest.mark.vsftpd

SIZE = 40_000
DELAY = 0.7  # three intervals


@pytest.fixture
def place(gateway: Callable[..., FtpGateway], engine: SlowEngine, vsftpd: FtpServer) -> Place:
    """A gateway that trickles, before vsftpd, its engine slow from now on."""
    running = gateway(policy(proxy(vsftpd.port, TRICKLE), clamav(engine.port)))
    engine.delay = DELAY
    return Place(running.port, vsftpd.root)


@pytest.fixture
def running(gateway: Callable[..., FtpGateway], engine: SlowEngine, vsftpd: FtpServer) -> FtpGateway:
    """The process of `place`."""
    return gateway(policy(proxy(vsftpd.port, TRICKLE), clamav(engine.port)))


class Taken:
    """What one RETR brought: the bytes with their times, how the data connection ended, and the reply after it."""

    def __init__(self, ftp: ftplib.FTP, command: str, rest: int | None = None) -> None:
        self.data, self.times, self.failed = b"", list[float](), ""
        began = time.monotonic()
        conn = ftp.transfercmd(command, rest)
        try:
            while piece := conn.recv(65536):
                self.data += piece
                self.times.append(time.monotonic() - began)
        except OSError as error:
            self.failed = type(error).__name__
        conn.close()
        try:
            self.reply = ftp.voidresp()
        except ftplib.Error as error:
            self.reply = str(error)


def test_an_infected_file_after_a_trickle(place: Place, running: FtpGateway) -> None:
    """At most the limit leaves, the data connection is reset, 550 follows, and the session goes on."""
    data = samples.infected("after a trickle", SIZE)
    (place.root / "trickled").write_bytes(data)
    (place.root / "next").write_bytes(b"fine")
    with place.login() as ftp:
        ftp.voidcmd("TYPE I")
        taken = Taken(ftp, "RETR trickled")
        assert taken.failed == "ConnectionResetError"
        assert taken.reply.startswith("550")
        assert 0 < len(taken.data) <= LIMIT
        assert data.startswith(taken.data)
        assert Taken(ftp, "RETR next").data == b"fine"
    record = running.record_of_path("/trickled")
    assert (record["action"], record["reason"], record["released"]) == ("cut", "virus-found", len(taken.data))


def test_a_clean_file_after_a_trickle(place: Place) -> None:
    """It arrives whole: chunks in the intervals first, the rest at the verdict."""
    data = samples.clean("clean trickle", SIZE)
    (place.root / "cleantrickle").write_bytes(data)
    with place.login() as ftp:
        ftp.voidcmd("TYPE I")
        taken = Taken(ftp, "RETR cleantrickle")
    assert (taken.data == data, taken.failed, taken.reply[:3]) == (True, "", "226")
    assert taken.times[0] < DELAY < taken.times[-1]


def test_the_rest_of_a_clean_file_after_a_trickle(place: Place) -> None:
    """REST within the limit trickles from there, and the tail is whole."""
    data = samples.clean("clean rest", SIZE)
    (place.root / "cleanrest").write_bytes(data)
    with place.login() as ftp:
        ftp.voidcmd("TYPE I")
        assert Taken(ftp, "RETR cleanrest", 500).data == data[500:]


def test_a_clean_text_after_a_trickle(place: Place) -> None:
    """TYPE A trickles, too, and no line end is broken by it."""
    data = b"".join(b"line %d\n" % n for n in range(4000))
    (place.root / "text").write_bytes(data)
    with place.login() as ftp:
        ftp.voidcmd("TYPE A")
        assert Taken(ftp, "RETR text").data == data.replace(b"\n", b"\r\n")


def test_a_file_of_one_chunk_never_trickles(place: Place) -> None:
    """EICAR alone is a plain 550 without 150, however slow its check."""
    (place.root / "short").write_bytes(samples.infected("short", CHUNK))
    with place.login() as ftp:
        ftp.voidcmd("TYPE I")
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            ftp.transfercmd("RETR short")


def test_resuming_again_and_again(place: Place, engine: SlowEngine) -> None:
    """From whatever offset it is asked for, no byte from `limit` on ever leaves."""
    engine.delay = DELAY
    data = samples.infected("again", SIZE)
    (place.root / "again").write_bytes(data)
    refused: list[str] = []
    for rest in (None, 2000, 6000, LIMIT - 1, LIMIT, LIMIT + 1, SIZE - 68, SIZE - 1):
        with place.login() as ftp:
            ftp.voidcmd("TYPE I")
            try:
                taken = Taken(ftp, "RETR again", rest)
            except ftplib.error_perm as error:
                refused.append(str(error)[:3])
                continue
        assert taken.failed == "ConnectionResetError"
        assert (rest or 0) + len(taken.data) <= LIMIT
    assert set(refused) == {"550"}


def test_the_second_request_is_told_at_once(place: Place, engine: SlowEngine) -> None:
    """What was cut is refused without a check and without a byte; a changed file is checked anew."""
    (place.root / "twice").write_bytes(samples.infected("twice", SIZE))
    with place.login() as ftp:
        ftp.voidcmd("TYPE I")
        assert Taken(ftp, "RETR twice").reply.startswith("550")
        scans, began = engine.streams, time.monotonic()
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            ftp.transfercmd("RETR twice")
        assert time.monotonic() - began < DELAY
        assert engine.streams == scans
        repaired = samples.clean("repaired", SIZE + 1)
        (place.root / "twice").write_bytes(repaired)
        assert Taken(ftp, "RETR twice").data == repaired


@pytest.mark.parametrize(
    "name",
    ["ftplib", "curl", pytest.param("lftp", marks=pytest.mark.lftp), pytest.param("wget", marks=pytest.mark.wget)],
)
def test_clients_end_and_tell(place: Place, tmp_path: Path, engine: SlowEngine, name: str) -> None:
    """A client's own retries and resumes end soon, in a failure, with no more than the first `limit` bytes."""
    data = samples.infected(name, SIZE)
    (place.root / f"cut-{name}").write_bytes(data)
    client: Client = CLIENTS[name](place, "pasv", tmp_path)
    scans, began = engine.streams, time.monotonic()
    first = client.get(f"cut-{name}")
    resumed = client.get(f"cut-{name}", resume=True) if (tmp_path / f"cut-{name}").exists() else first
    assert first.exit != 0, first.output
    assert resumed.exit != 0, resumed.output
    assert time.monotonic() - began < 10
    assert engine.streams == scans + 1
    held = tmp_path / f"cut-{name}"
    assert not held.exists() or (len(held.read_bytes()) <= LIMIT and data.startswith(held.read_bytes()))


@pytest.mark.lftp
def test_lftp_does_not_loop(place: Place, tmp_path: Path) -> None:
    """Told to try for ever, it is refused on its second try and ends."""
    (place.root / "loop").write_bytes(samples.infected("loop", SIZE))
    client = CLIENTS["lftp"](place, "pasv", tmp_path)
    done = client.script("get -c loop", tries=0)  # type: ignore[attr-defined]  # it is lftp
    assert done.exit != 0
    assert "550" in done.output


def fetch_by(program: str, place: Place, name: str, folder: Path) -> Run:
    """One of the two old clients."""
    account = f"{place.user}:{place.password}"
    commands = {
        "tnftp": ["tnftp", "-V", "-o", name, f"ftp://{account}@{place.host}:{place.port}/{name}"],
        "ncftp": [
            "ncftpget",
            "-Z",
            "-V",
            "-t",
            "10",
            "-r",
            "1",
            "-u",
            place.user,
            "-p",
            place.password,
            "-P",
            str(place.port),
            place.host,
            ".",
            name,
        ],
    }
    return run(commands[program], folder)


@pytest.mark.parametrize(
    "program", [pytest.param("tnftp", marks=pytest.mark.tnftp), pytest.param("ncftp", marks=pytest.mark.ncftp)]
)
def test_old_clients_report_no_success(place: Place, tmp_path: Path, engine: SlowEngine, program: str) -> None:
    """Who takes a closed connection for the end of a file fails at the reset; a clean file arrives."""
    data = samples.infected(program, SIZE)
    (place.root / f"{program}-bad").write_bytes(data)
    (place.root / f"{program}-good").write_bytes(samples.clean(program, SIZE))
    done = fetch_by(program, place, f"{program}-bad", tmp_path)
    assert done.exit != 0, done.output
    held = tmp_path / f"{program}-bad"
    assert not held.exists() or len(held.read_bytes()) <= LIMIT
    engine.delay = 0.0
    done = fetch_by(program, place, f"{program}-good", tmp_path)
    assert (done.exit, (tmp_path / f"{program}-good").read_bytes() == samples.clean(program, SIZE)) == (0, True), done


@pytest.mark.lftp
def test_trees_with_one_infected_file(place: Place, tmp_path: Path, engine: SlowEngine) -> None:
    """lftp's mirror brings 21 of 22 files both ways, and tells of the one that it could not bring."""
    engine.delay = 0.0
    there, here = place.root / "tree", tmp_path / "tree"
    for top in (there / "sub", here / "sub"):
        top.mkdir(parents=True)
    files = {f"{'sub/' if n % 2 else ''}file {n}": samples.clean(f"tree {n}", 3000) for n in range(21)}
    for name, data in files.items():
        (there / name).write_bytes(data)
        (here / name).write_bytes(data)
    for top in (there, here):
        (top / "sub" / "infected").write_bytes(samples.EICAR)
    client = CLIENTS["lftp"](place, "pasv", tmp_path)
    down = client.script("mirror tree down")  # type: ignore[attr-defined]  # it is lftp
    up = client.script("mirror -R tree up")  # type: ignore[attr-defined]
    for done, top in ((down, tmp_path / "down"), (up, place.root / "up")):
        assert done.exit != 0
        arrived = {str(f.relative_to(top)): f.read_bytes() for f in top.rglob("*") if f.is_file()}
        assert arrived == files


@pytest.mark.lftp
def test_pieces_in_parallel(place: Place, tmp_path: Path, engine: SlowEngine) -> None:
    """lftp's pget puts four pieces together to the whole file; of an infected one it gets none."""
    engine.delay = 0.0
    data = samples.clean("pget", 900_000)
    (place.root / "pget").write_bytes(data)
    (place.root / "pget-bad").write_bytes(samples.infected("pget", 900_000))
    client = CLIENTS["lftp"](place, "pasv", tmp_path)
    done = client.script("pget -n4 pget")  # type: ignore[attr-defined]  # it is lftp
    assert (done.exit, (tmp_path / "pget").read_bytes() == data) == (0, True), done.output
    assert client.script("pget -n4 pget-bad").exit != 0  # type: ignore[attr-defined]
    assert samples.EICAR not in b"".join(f.read_bytes() for f in tmp_path.glob("pget-bad*"))
