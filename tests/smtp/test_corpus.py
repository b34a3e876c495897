"""The corpus of mails, through the real gateway process under the chapter's first policy: what hides a virus does not
arrive with it, what is ordinary arrives as it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.fakes.loop_thread import LoopThread
from tests.fakes.next_hop import NextHop
from tests.mailgw.corpus import hiding, ordinary
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, is_found, reading
from tests.smtp.conftest import VARIANT_1, RunSmtp, write_policy
from tests.smtp.load import Load, read_name

_ALL = hiding.HONEST | hiding.ODD


@pytest.fixture(scope="module")
def fakes() -> Iterator[LoopThread]:
    """Where the next hop and the clients live."""
    with LoopThread() as thread:
        yield thread


@pytest.fixture(scope="module")
def hop(fakes: LoopThread) -> Iterator[NextHop]:
    """It accepts everything."""
    server = NextHop()
    fakes.run(server.__aenter__())
    yield server
    fakes.run(server.__aexit__())


@pytest.fixture(scope="module")
def gateway(hop: NextHop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSmtp]:
    """15.5, with the built-in engine."""
    home = tmp_path_factory.mktemp("corpus")
    with RunSmtp(write_policy(home, hop.port, VARIANT_1), home) as run:
        yield run


def send(
    fakes: LoopThread, hop: NextHop, gateway: RunSmtp, mails: Mapping[str, bytes]
) -> tuple[Load, dict[str, bytes]]:
    """What was answered, and what arrived, by the mails' names."""
    hop.mails.clear()
    numbers = {f"m{number}": name for number, name in enumerate(mails)}
    load = Load(gateway.port, {number: mails[name] for number, name in numbers.items()})
    fakes.run(load.run(), timeout=100)
    load.answers = {numbers[number]: answer for number, answer in load.answers.items()}
    arrived = {numbers[read_name(mail.recipients[0])]: mail.wire for mail in hop.mails}
    assert len(arrived) == len(hop.mails)
    return load, arrived


def test_nothing_hidden_arrives(fakes: LoopThread, hop: NextHop, gateway: RunSmtp) -> None:
    """No mail that hides a virus is delivered and shows it in any view, or to any other reader; what is not delivered
    was refused for its line ends, or discarded and kept."""
    load, arrived = send(fakes, hop, gateway, _ALL)
    assert len(load.answers) == len(_ALL) >= 500
    for name, wire in arrived.items():
        with reading(_ALL[name]) as mail:
            assert not finds(mail), name
        assert not is_found(MemoryBody(wire)), name
        for read in other_readers.READERS.values():
            assert not any(EICAR in body for body in read(_ALL[name])), name
    stopped = {name: answer for name, answer in load.answers.items() if name not in arrived}
    assert all(answer.startswith((b"250 2.0.0 accepted, id ", b"550 5.6.11")) for answer in stopped.values())
    assert len(stopped) >= len(_ALL) * 0.95
    for answer in stopped.values():
        if answer.startswith(b"250"):
            assert (gateway.directory / "quarantine" / f"{answer.split()[-1].decode()}.data").exists()


def test_what_is_ordinary_arrives(fakes: LoopThread, hop: NextHop, gateway: RunSmtp) -> None:
    """Octet for octet, with the line ends that SMTP demands; at most 2 in 100 are stopped."""
    mails = {name: re.sub(rb"\r?\n", b"\r\n", mail) for name, mail in ordinary.MAILS.items()}
    load, arrived = send(fakes, hop, gateway, mails)
    assert len(load.answers) == len(mails) >= 200
    for name, wire in arrived.items():
        mail = mails[name]
        assert _unstuff(wire) == (mail if mail.endswith(b"\r\n") or not mail else mail + b"\r\n"), name
    stopped = {name: answer for name, answer in load.answers.items() if name not in arrived}
    assert len(stopped) <= len(mails) // 50, stopped


def _unstuff(wire: bytes) -> bytes:
    return (b"\r\n" + wire).replace(b"\r\n.", b"\r\n")[2:]


def test_every_mail_has_a_record(gateway: RunSmtp) -> None:
    """One JSON line each, and none of them tells of content."""
    gateway.wait_until(lambda: len(gateway.records) >= 700, "all records")
    assert len({record["id"] for record in gateway.records}) == len(gateway.records)
    assert not any("EICAR" in json.dumps(record["object"]) for record in gateway.records)
    assert gateway.crashes() == []


def test_the_home_is_clean(gateway: RunSmtp) -> None:
    """No half entry lies in the quarantine."""
    files = list(Path(gateway.directory / "quarantine").iterdir())
    assert {file.suffix for file in files} <= {".data", ".json", ".lock", ""}
    stems = {file.stem for file in files if file.suffix == ".data"}
    assert stems == {file.stem for file in files if file.suffix == ".json"}
