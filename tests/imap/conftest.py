"""A real Dovecot with a mailbox of many mails, and `avsluice run` before it as a process of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.http.run_proxy import RunProxy
from tests.imap.wire import Wire
from tests.mailgw.corpus import hiding, ordinary
from tests.real.dovecot_server import PASSWORD, USER, run_dovecot

REPLACE = """\
mail-acl: [{name: MAILOK, action: accept, quarantine: true}]
doc-acl:
  - {name: INFECTED, when: {virus-status: [found]}, action: replace, replace: found.txt}
  - {name: UNKNOWN, when: {virus-status: [skipped, unknown]}, action: replace, replace: found.txt}
  - {name: DOCOK, action: accept}
"""
DENY = """\
mail-acl:
  - {name: VIRUS, when: {virus-status: [found]}, action: deny}
  - {name: MAILOK, action: accept}
doc-acl: [{name: DOCOK, action: accept}]
"""
REFUSED = "single/cte-vt"
"""The mail that no covering cleans: it is refused."""
NOTICE = "REMOVED {virus} {status} {id}\n"


class RunImap(RunProxy):
    """One running `avsluice run FILE` with an imap4-proxy."""

    def __init__(self, file: Path, home: Path) -> None:
        super().__init__(file, home)
        self.directory = home
        self._ready = re.compile(r"ready imap4-proxy\.\S+ 127\.0\.0\.1:(\d+)")


def write_policy(directory: Path, server: int, acls: str, more: str = "", engine: str = "{protocol: builtin}") -> Path:
    """One imap4-proxy before a server at that port; `more` are further items of it."""
    (directory / "quarantine").mkdir(mode=0o700, exist_ok=True)
    (directory / "found.txt").write_text(NOTICE)
    items = f"listen: 127.0.0.1:0\nserver: localhost:{server}\n"
    if "command-acl" not in more:
        items += "command-acl: [{name: CMD, use-antivirus: {download: [AV], upload: [AV]}}]\n"
    items += acls + more
    file = directory / "policy.yaml"
    head = f"antivirus:\n  AV: {engine}\nquarantine: {{directory: {directory / 'quarantine'}}}\n"
    file.write_text(head + "imap4-proxy:\n  IMAP4:\n" + indent(items, "    "))
    return file


def pick_mails() -> dict[str, bytes]:
    """Ordinary ones, infected ones, and some that are odd: some thirty."""
    names = sorted(ordinary.MAILS)
    mails = {name: ordinary.MAILS[name] for name in names[:: max(1, len(names) // 22)]}
    honest = sorted(hiding.HONEST)
    mails.update({name: hiding.HONEST[name] for name in honest[:: max(1, len(honest) // 10)]})
    odd = [name for name in sorted(hiding.ODD) if name != REFUSED]
    mails.update({name: hiding.ODD[name] for name in odd[:: max(1, len(odd) // 6)]})
    return mails


@pytest.fixture(scope="session")
def dovecot() -> Iterator[int]:
    """Its port. For tests marked `dovecot` only."""
    with run_dovecot() as (_, port):
        yield port


@pytest.fixture(scope="session")
def mails(dovecot: int) -> list[str]:
    """The names of the mails in INBOX, in their order."""
    client = Wire(dovecot)
    assert b" OK " in client.login(USER, PASSWORD)
    chosen = pick_mails()
    for mail in chosen.values():
        assert b" OK " in client.append(b"INBOX", mail, plus=b"+")
    client.close()
    return list(chosen)


@pytest.fixture(scope="session")
def gateway(dovecot: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunImap]:
    """15.7: what is infected or cannot be checked is replaced."""
    home = tmp_path_factory.mktemp("gateway")
    with RunImap(write_policy(home, dovecot, REPLACE), home) as run:
        yield run


@pytest.fixture
def connect() -> Iterator[Callable[[int], Wire]]:
    """Makes clients that are logged in."""
    clients: list[Wire] = []

    def make(port: int) -> Wire:
        clients.append(Wire(port))
        assert b" OK " in clients[-1].login(USER, PASSWORD)
        return clients[-1]

    yield make
    for client in clients:
        client.close()
