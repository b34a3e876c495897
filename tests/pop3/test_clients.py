"""Programs that fetch mail, through the gateway as directly."""

from __future__ import annotations

import hashlib
import os
import poplib
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from scanners.specimens import EICAR
from tests.mailgw.corpus import ordinary
from tests.pop3.conftest import CHAPTER, RunPop3, write_policy
from tests.pop3.test_dovecot import INFECTED, SHAPES
from tests.real.dovecot_pop3_server import PASSWORD, DovecotPop3, run_dovecot_pop3

pytestmark = pytest.mark.dovecot_pop3

_MAILS = [
    *(SHAPES[name] for name in ("dots", "blank lines", "trailing blanks", "empty body")),
    *ordinary.MAILS.values(),
]
_MAILS = [mail for mail in _MAILS if len(mail) < 100_000][:60]


def run(*command: str, directory: Path, data: bytes = b"") -> bytes:
    """What a program writes; it ends well, within half a minute."""
    env = {**os.environ, "HOME": str(directory), "FETCHMAILHOME": str(directory)}
    done = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False, cwd=directory, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def private(file: Path, text: str) -> Path:
    """A file that only its owner reads, as these programs demand."""
    file.write_text(text)
    file.chmod(0o600)
    return file


def fetch_by_fetchmail(port: int, user: str, directory: Path) -> list[bytes]:
    """One mail after the other, into a file; fetchmail adds nothing (`no rewrite`, `invisible`)."""
    box = directory / "box"
    rules = (
        f'poll 127.0.0.1 service {port} proto pop3 user "{user}" password "{PASSWORD}" keep fetchall sslproto "" '
        f'no rewrite no dropstatus mda "cat >> {box}; printf SLUICE-END >> {box}"\nset invisible\nset no bouncemail\n'
    )
    file = private(directory / "rc", rules)
    run("fetchmail", "-f", str(file), "--pidfile", str(directory / "pid"), directory=directory)
    return box.read_bytes().split(b"SLUICE-END")[:-1]


def fetch_by_mpop(port: int, user: str, directory: Path) -> list[bytes]:
    """Into a maildir."""
    box = _maildir(directory)
    rules = (
        f"account a\nhost 127.0.0.1\nport {port}\nuser {user}\npassword {PASSWORD}\ntls off\nauth user\nkeep on\n"
        f"delivery maildir {box}\nreceived_header off\nuidls_file {directory}/uidls\npipelining on\n"
    )
    run("mpop", f"--file={private(directory / 'rc', rules)}", "-q", "a", directory=directory)
    return _read(box)


def fetch_by_getmail(port: int, user: str, directory: Path) -> list[bytes]:
    """Into a file: a maildir it would not fill as root."""
    box = directory / "box"
    rules = (
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = {user}\n"
        f"password = {PASSWORD}\n[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
        f"arguments = ('-c', 'cat >> {box}; printf SLUICE-END >> {box}')\n"
        "[options]\ndelivered_to = false\nreceived = false\nverbose = 0\nread_all = false\n"
    )
    private(directory / "getmailrc", rules)
    run("getmail", "--getmaildir", str(directory), directory=directory)
    return box.read_bytes().split(b"SLUICE-END")[:-1]


def _maildir(directory: Path) -> Path:
    box = directory / "maildir"
    for name in ("cur", "new", "tmp"):
        (box / name).mkdir(parents=True)
    return box


def _read(box: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((box / "new").iterdir())]


FETCHERS: dict[str, Callable[[int, str, Path], list[bytes]]] = {
    "fetchmail": fetch_by_fetchmail,
    "getmail": fetch_by_getmail,
    "mpop": fetch_by_mpop,
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in FETCHERS])
def test_a_mailbox_is_fetched_as_directly(name: str, dovecot: DovecotPop3, gateway: RunPop3, tmp_path: Path) -> None:
    """The same mails, octet for octet; of the infected one as many octets, and no virus."""
    mails = _MAILS[:12] if name == "getmail" else _MAILS  # which takes long to start its shells
    user = dovecot.fill([*mails, INFECTED])
    trees = []
    for port in (dovecot.port, gateway.port):
        directory = tmp_path / str(port)
        directory.mkdir(mode=0o700)
        trees.append(
            sorted(
                FETCHERS[name](port, user, directory),
                key=lambda mail: (b"a.com" in mail, hashlib.sha256(mail).digest()),
            )
        )
    direct, through = trees
    assert len(direct) == len(mails) + 1
    assert through[:-1] == direct[:-1]
    assert len(through[-1]) == len(direct[-1])
    assert through[-1] != direct[-1]
    assert b"WDVPIVAl" in direct[-1]
    assert b"WDVPIVAl" not in through[-1]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DovecotPop3, RunPop3, Path]]:
    """TLS on both sides: STLS towards clients, POP3S towards Dovecot; and who signed it all."""
    home = tmp_path_factory.mktemp("secure")
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    files = {name: home / f"{name}.pem" for name in ("certificate", "key", "ca")}
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    ca.cert_pem.write_to_path(files["ca"])
    for file in files.values():
        file.chmod(0o644)
    tls = f"tls: {{mode: starttls, certificate: {files['certificate']}, key: {files['key']}}}\n"
    with run_dovecot_pop3(files["certificate"], files["key"]) as dovecot:
        items = CHAPTER + tls + f"server-tls: {{mode: implicit, ca: {files['ca']}}}\n"
        with RunPop3(write_policy(home, dovecot.pop3s, items), home) as gateway:
            yield dovecot, gateway, files["ca"]


def test_poplib_behind_stls(secure: tuple[DovecotPop3, RunPop3, Path]) -> None:
    """Capabilities, APOP, TOP, RETR, UIDL, DELE."""
    dovecot, gateway, ca = secure
    user = dovecot.fill([SHAPES["dots"], INFECTED])
    client = poplib.POP3("127.0.0.1", gateway.port, timeout=20)
    assert "STLS" in client.capa()
    client.stls(ssl.create_default_context(cafile=str(ca)))
    assert "STLS" not in client.capa()
    client.apop(user, PASSWORD)
    assert client.stat()[0] == 2
    _, lines, size = client.retr(2)
    assert size == len(INFECTED)
    assert b"".join(line + b"\r\n" for line in lines) != INFECTED
    assert b"WDVPIVAl" not in b"".join(lines)
    assert client.top(1, 1)[1][-1] == b"."
    assert len(client.uidl()[1]) == 2
    client.dele(2)
    client.quit()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(secure: tuple[DovecotPop3, RunPop3, Path], tmp_path: Path) -> None:
    """A list and a mail, under TLS, with SASL."""
    dovecot, gateway, ca = secure
    user = dovecot.fill([SHAPES["dots"], INFECTED])
    words = ("curl", "-sS", "--ssl-reqd", "--cacert", str(ca), "-u", f"{user}:{PASSWORD}")
    url = f"pop3://127.0.0.1:{gateway.port}/"
    assert run(*words, url, directory=tmp_path).startswith(b"1 %d\r\n" % len(SHAPES["dots"]))
    assert run(*words, url + "1", directory=tmp_path) == SHAPES["dots"]
    covered = run(*words, url + "2", directory=tmp_path)
    assert len(covered) == len(INFECTED)
    assert EICAR[:20] not in covered
    assert b"WDVPIVAl" not in covered
