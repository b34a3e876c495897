"""What is refused, in both directions, by a real vsftpd's gateway: no byte of it arrives, and the session goes on."""

from __future__ import annotations

import ftplib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place
from tests.ftp.policies import policy, proxy
from tests.http import samples
from tests.http.policies import clamav
from tests.http.slow_engine import SlowEngine
from tests.real.clamd_server import ClamdServer
from tests.real.ftp_server import FtpServer

pytestmark = pytest.mark.vsftpd

Gateway = Callable[..., FtpGateway]
EICAR = samples.EICAR


@pytest.fixture
def running(gateway: Gateway, vsftpd: FtpServer) -> FtpGateway:
    """A gateway before vsftpd with the built-in engine."""
    return gateway(policy(proxy(vsftpd.port)))


@pytest.fixture
def ftp(running: FtpGateway, vsftpd: FtpServer) -> Iterator[ftplib.FTP]:
    """A session through it."""
    with Place(running.port, vsftpd.root).login() as session:
        yield session


@pytest.fixture
def folder(vsftpd: FtpServer, tmp_path: Path) -> Path:
    """A folder on the server for this test alone."""
    made = vsftpd.root / tmp_path.name
    made.mkdir(exist_ok=True)
    return made


def refusal(work: Callable[[], object]) -> str:
    """The text of the 5xx that this ends in."""
    with pytest.raises(ftplib.error_perm) as caught:
        work()
    return str(caught.value)


def test_a_small_infected_file_is_refused_before_150(ftp: ftplib.FTP, folder: Path, running: FtpGateway) -> None:
    """RETR is answered 550 with the virus's name and the record's id, no 150 comes first, and the session goes on."""
    (folder / "bad").write_bytes(EICAR)
    ftp.voidcmd("TYPE I")
    _host, _port = ftp.makepasv()
    answer = refusal(lambda: ftp.sendcmd(f"RETR {folder.name}/bad"))
    record = running.record_of_path("/bad")
    assert answer.startswith("550")
    assert record["virus"] in answer
    assert record["id"] in answer
    assert (record["action"], record["reason"], record["released"]) == ("deny", "virus-found", 0)
    (folder / "good").write_bytes(b"fine")
    assert fetch(ftp, f"{folder.name}/good") == b"fine"


def fetch(ftp: ftplib.FTP, path: str, rest: int | None = None) -> bytes:
    """RETR in TYPE I."""
    got = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", got.write, rest=rest)
    return got.getvalue()


@pytest.mark.parametrize("rest", [1, 30, 67, 4000, 4040])
def test_the_rest_of_an_infected_file_is_refused(ftp: ftplib.FTP, folder: Path, rest: int) -> None:
    """Whoever asks for the end of it by REST is refused as for the whole, wherever the signature is."""
    (folder / "bad").write_bytes(EICAR + samples.clean("rest", 4000))
    assert refusal(lambda: fetch(ftp, f"{folder.name}/bad", rest)).startswith("550")


def test_the_rest_of_a_clean_file(ftp: ftplib.FTP, folder: Path) -> None:
    """REST and RETR give the tail, and the next RETR begins at the beginning again."""
    data = samples.clean("tail", 100_000)
    (folder / "good").write_bytes(data)
    assert fetch(ftp, f"{folder.name}/good", 70_000) == data[70_000:]
    assert fetch(ftp, f"{folder.name}/good") == data


@pytest.mark.parametrize(
    "data", [EICAR, samples.zipped(), samples.infected("big", 3_000_000)], ids=["bare", "zip", "big"]
)
def test_an_infected_upload_leaves_what_was_there(ftp: ftplib.FTP, folder: Path, data: bytes) -> None:
    """STOR of it is a 550, and a former file of that name stays as it was."""
    (folder / "kept").write_bytes(b"former")
    answer = refusal(lambda: ftp.storbinary(f"STOR {folder.name}/kept", io.BytesIO(data)))
    assert answer.startswith("550")
    assert "eicar" in answer.lower()
    assert (folder / "kept").read_bytes() == b"former"
    assert refusal(lambda: ftp.storbinary(f"STOR {folder.name}/new", io.BytesIO(data))).startswith("550")
    assert [file.name for file in folder.iterdir()] == ["kept"]


def test_an_infected_upload_under_a_name_of_the_servers(ftp: ftplib.FTP, folder: Path) -> None:
    """STOU of it is refused, and the server has made no file."""
    ftp.cwd(folder.name)
    assert refusal(lambda: ftp.storbinary("STOU", io.BytesIO(EICAR))).startswith("550")
    assert list(folder.iterdir()) == []


def test_a_clean_upload_under_a_name_of_the_servers(ftp: ftplib.FTP, folder: Path) -> None:
    """STOU of a clean file stores it."""
    ftp.cwd(folder.name)
    ftp.storbinary("STOU", io.BytesIO(b"unique"))
    assert [file.read_bytes() for file in folder.iterdir()] == [b"unique"]


def test_appending_the_other_half(ftp: ftplib.FTP, folder: Path) -> None:
    """APPE that would make EICAR of what is there is refused, and what is there stays."""
    (folder / "half").write_bytes(EICAR[:50])
    answer = refusal(lambda: ftp.storbinary(f"APPE {folder.name}/half", io.BytesIO(EICAR[50:])))
    assert answer.startswith("550")
    assert (folder / "half").read_bytes() == EICAR[:50]


def test_storing_the_other_half(ftp: ftplib.FTP, folder: Path) -> None:
    """REST and STOR that would make EICAR of what is there is refused, and what is there stays."""
    (folder / "half").write_bytes(EICAR[:30])
    ftp.voidcmd("TYPE I")
    answer = refusal(lambda: ftp.storbinary(f"STOR {folder.name}/half", io.BytesIO(EICAR[30:]), rest=30))
    assert answer.startswith("550")
    assert (folder / "half").read_bytes() == EICAR[:30]


def test_clean_halves_are_joined(ftp: ftplib.FTP, folder: Path) -> None:
    """APPE, and REST with STOR, store what they should."""
    (folder / "half").write_bytes(b"one ")
    ftp.storbinary(f"APPE {folder.name}/half", io.BytesIO(b"two "))
    ftp.storbinary(f"STOR {folder.name}/half", io.BytesIO(b"three"), rest=8)
    assert (folder / "half").read_bytes() == b"one two three"


def test_type_a_hides_nothing_in_an_upload(ftp: ftplib.FTP, folder: Path) -> None:
    """A virus with line ends is found in TYPE A, too, although the wire carries it with carriage returns."""
    refused = refusal(lambda: ftp.storlines(f"STOR {folder.name}/text", io.BytesIO(b"first\n" + EICAR + b"\nlast\n")))
    assert refused.startswith("550")
    assert list(folder.iterdir()) == []


def test_type_a_hides_nothing_in_a_download(ftp: ftplib.FTP, folder: Path) -> None:
    """A file that is infected as it lies there is refused in TYPE A, too."""
    (folder / "text").write_bytes(b"first\n" + EICAR + b"\nlast\n")
    assert refusal(lambda: ftp.retrlines(f"RETR {folder.name}/text", lambda _line: None)).startswith("550")


def test_type_a_of_a_clean_text(ftp: ftplib.FTP, folder: Path) -> None:
    """Lines go both ways as FTP has it: CR LF on the wire, the server's own line ends in the file."""
    lines: list[str] = []
    (folder / "text").write_bytes(b"first\nsecond\n")
    ftp.retrlines(f"RETR {folder.name}/text", lines.append)
    assert lines == ["first", "second"]
    ftp.storlines(f"STOR {folder.name}/up", io.BytesIO(b"first\nsecond\n"))
    assert (folder / "up").read_bytes() == b"first\nsecond\n"


NAMES = ["with space", "ends in space ", "ü-ñ-日本", 'quo"ted', "semi;colon", "-dash", "%20", "a[b]*?", "$(x)"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names(ftp: ftplib.FTP, folder: Path, name: str) -> None:
    """Files and folders of odd names are stored, listed, fetched, entered, renamed and removed."""
    ftp.cwd(folder.name)
    ftp.storbinary(f"STOR {name}", io.BytesIO(b"odd"))
    assert (folder / name).read_bytes() == b"odd"
    assert fetch(ftp, name) == b"odd"
    ftp.rename(name, name + "2")
    assert [file.name for file in folder.iterdir()] == [name + "2"]
    ftp.delete(name + "2")
    ftp.mkd(name)
    ftp.cwd(name)
    assert ftp.pwd().endswith(f"{folder.name}/{name}")
    ftp.cwd("..")
    ftp.rmd(name)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["LIST", "NLST", "LIST -a"])
def test_listings_are_the_servers(ftp: ftplib.FTP, vsftpd: FtpServer, folder: Path, command: str) -> None:
    """A listing's lines are those that the server itself gives."""
    for name in ("one", "two words", "ü"):
        (folder / name).write_bytes(b"x")
    (folder / "infected").write_bytes(EICAR)
    listed: list[list[str]] = []
    with vsftpd.login() as direct:
        for session in (direct, ftp):
            session.cwd(str(folder))
            lines: list[str] = []
            session.retrlines(command, lines.append)
            listed.append(lines)
    assert listed[0] == listed[1] != []


def test_an_engine_that_fails(gateway: Gateway, vsftpd: FtpServer, folder: Path) -> None:
    """Where the engine is gone both directions are answered 451, and nothing arrives."""
    running = gateway(policy(proxy(vsftpd.port), clamav(1, timeout="2s")))
    (folder / "good").write_bytes(b"fine")
    with Place(running.port, vsftpd.root).login() as ftp:
        for work in (
            lambda: fetch(ftp, f"{folder.name}/good"),
            lambda: ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(b"fine")),
        ):
            with pytest.raises(ftplib.error_temp, match=r"^451"):
                work()
    assert [file.name for file in folder.iterdir()] == ["good"]


@pytest.mark.parametrize("accepted", [False, True])
def test_what_is_too_large_to_check(gateway: Gateway, vsftpd: FtpServer, folder: Path, accepted: bool) -> None:
    """What is larger than any engine takes is refused as skipped, and passes where the policy accepts that."""
    acl = "accept-antivirus-status: [skipped]\n" if accepted else ""
    antivirus = "antivirus:\n  AV: {protocol: builtin, max-checked-size: 10000}\n"
    running = gateway(policy(proxy(vsftpd.port, acl), antivirus))
    data = samples.clean("large", 50_000)
    (folder / "large").write_bytes(data)
    with Place(running.port, vsftpd.root).login() as ftp:
        if accepted:
            assert fetch(ftp, f"{folder.name}/large") == data
            ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(data))
            assert (folder / "up").read_bytes() == data
        else:
            assert refusal(lambda: fetch(ftp, f"{folder.name}/large")).startswith("550")
            answer = refusal(lambda: ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(data)))
            assert answer.startswith("550")
            assert "skipped" in answer
            assert not (folder / "up").exists()


def test_a_full_spool(gateway: Gateway, vsftpd: FtpServer, folder: Path) -> None:
    """What the spool has no room for is answered 452 in both directions, and the session goes on."""
    running = gateway(policy(proxy(vsftpd.port), top="spool: {memory: 1000, max-object: 20000, max-total: 20000}\n"))
    (folder / "large").write_bytes(samples.clean("full", 500_000))
    (folder / "small").write_bytes(b"fine")
    with Place(running.port, vsftpd.root).login() as ftp:
        with pytest.raises(ftplib.error_temp, match=r"^452"):
            fetch(ftp, f"{folder.name}/large")
        assert fetch(ftp, f"{folder.name}/small") == b"fine"
        with pytest.raises(ftplib.Error, match=r"^(452|552)"):
            ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(bytes(500_000)))
        assert not (folder / "up").exists()
        assert fetch(ftp, f"{folder.name}/small") == b"fine"


def test_an_acl_that_denies(gateway: Gateway, vsftpd: FtpServer, folder: Path) -> None:
    """What an ACL denies by its name is refused in both directions, and the server never sees the upload."""
    before = "- {name: NOEXE, when: {extension: exe}, action: deny}\n"
    running = gateway(policy(proxy(vsftpd.port, before=before)))
    (folder / "a.exe").write_bytes(b"program")
    with Place(running.port, vsftpd.root).login() as ftp:
        assert refusal(lambda: fetch(ftp, f"{folder.name}/a.exe")).startswith("550")
        assert refusal(lambda: ftp.storbinary(f"STOR {folder.name}/b.exe", io.BytesIO(b"x"))).startswith("550")
    record = running.record_of_path("/b.exe")
    assert (record["direction"], record["action"], record["reason"], record["acl"]) == (
        "upload",
        "deny",
        "acl",
        "NOEXE",
    )
    assert not (folder / "b.exe").exists()


@pytest.mark.clamd
@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_a_real_clamd(gateway: Gateway, vsftpd: FtpServer, real_clamd: ClamdServer, folder: Path, place: str) -> None:
    """clamd finds EICAR in a zip on its way up and down, and passes what is clean."""
    running = gateway(policy(proxy(vsftpd.port), clamav(getattr(real_clamd, place))))
    (folder / "bad.zip").write_bytes(samples.zipped())
    data = samples.clean("clamd", 200_000)
    with Place(running.port, vsftpd.root).login() as ftp:
        assert "Eicar-Test" in refusal(lambda: fetch(ftp, f"{folder.name}/bad.zip"))
        up = refusal(lambda: ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(samples.zipped())))
        assert "Eicar-Test" in up
        ftp.storbinary(f"STOR {folder.name}/good", io.BytesIO(data))
        assert fetch(ftp, f"{folder.name}/good") == data
    assert {file.name for file in folder.iterdir()} == {"bad.zip", "good"}


def test_a_slow_check_of_an_upload(gateway: Gateway, engine: SlowEngine, vsftpd: FtpServer, folder: Path) -> None:
    """An upload is answered when it was checked and stored, not before, and is there then."""
    running = gateway(policy(proxy(vsftpd.port), clamav(engine.port)))
    engine.delay = 0.5
    with Place(running.port, vsftpd.root).login() as ftp:
        assert ftp.storbinary(f"STOR {folder.name}/up", io.BytesIO(b"slow but fine")).startswith("226")
    assert (folder / "up").read_bytes() == b"slow but fine"
