"""Mails built to be costly, through the real gateway process: `unknown` in time, in bounded memory, while others are
served."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.loop_thread import LoopThread
from tests.fakes.next_hop import NextHop
from tests.mailgw.corpus.structures import TOP
from tests.mailgw.mime.test_bombs import BOMBS
from tests.smtp.conftest import VARIANT_1, RunSmtp, Wire, write_policy

SPECIFIED = ("1,000 nested multiparts", "64 KB of nested messages", "20,000 parts", "10 MB of header")
WITHIN = 5.0
MORE = 64 << 20
CLEAN = b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def hop() -> Iterator[NextHop]:
    """A next hop that accepts everything."""
    with LoopThread() as thread:
        server = NextHop()
        thread.run(server.__aenter__())
        yield server
        thread.run(server.__aexit__())


@contextlib.contextmanager
def running(home: Path, hop: NextHop, timeout: str) -> Iterator[RunSmtp]:
    """15.5, with an engine that has so long for a mail."""
    policy = write_policy(home, hop.port, VARIANT_1)
    policy.write_text(policy.read_text().replace("{protocol: builtin}", f"{{protocol: builtin, timeout: {timeout}}}"))
    with RunSmtp(policy, home) as run:
        yield run


@pytest.fixture(scope="module")
def gateway(hop: NextHop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSmtp]:
    """A patient one."""
    with running(tmp_path_factory.mktemp("costly"), hop, "30s") as run:
        yield run


@pytest.fixture(scope="module")
def hasty(hop: NextHop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSmtp]:
    """One whose engine has two seconds."""
    with running(tmp_path_factory.mktemp("costly"), hop, "2s") as run:
        yield run


def processes(run: RunSmtp) -> list[Path]:
    """Those of `avsluice run`, which are a session of their own."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == run.pid:
            found.append(place)
    return found


def peak(run: RunSmtp) -> int:
    """Highest resident bytes of all of them since `reset`."""
    lines = [line for place in processes(run) for line in (place / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def reset(run: RunSmtp) -> None:
    """Begins a new measurement."""
    for place in processes(run):
        (place / "clear_refs").write_text("5")


def serve_others(run: RunSmtp, busy: list[bool]) -> float:
    """The longest time that another client waited for its mail to be answered."""
    client, longest = Wire(run.port), 0.0
    while busy:
        began = time.monotonic()
        assert client.mail(CLEAN).startswith(b"250 2.0.0 Ok: queued")
        longest = max(longest, time.monotonic() - began)
    client.close()
    return longest


def send(run: RunSmtp, mail: bytes) -> tuple[bytes, float, float]:
    """The answer, how long it took from the last octet on, and how long others waited meanwhile."""
    busy = [True]
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(serve_others, run, busy)
        client = Wire(run.port)
        for line in (b"EHLO me", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>", b"DATA"):
            assert client.ask(line)[:1] in b"23"
        client.send(mail)
        began = time.monotonic()
        reply = client.ask(b".")
        took = time.monotonic() - began
        busy.clear()
        client.close()
        return reply, took, others.result()


@pytest.mark.parametrize("name", SPECIFIED)
def test_a_bomb_is_unknown(name: str, gateway: RunSmtp) -> None:
    """Discarded and kept as `unknown` within 5 s, in 64 MB more at the most; others are answered within 2 s."""
    bomb = BOMBS[name] if BOMBS[name].endswith(b"\r\n") else BOMBS[name] + b"\r\n"
    with contextlib.closing(Wire(gateway.port)) as client:
        assert client.mail(CLEAN).startswith(b"250")
    reset(gateway)
    before = peak(gateway)
    reply, took, others = send(gateway, bomb)
    assert reply.startswith(b"250 2.0.0 accepted, id ")
    entry = reply.split()[-1].decode()
    record = gateway.wait_until(lambda: next((r for r in tuple(gateway.records) if r["id"] == entry), None), "a record")
    more = peak(gateway) - before
    print(f"{name}: {took:.2f} s, {more >> 20} MiB more, others {others:.2f} s")
    assert (record["status"], record["acl"], record["quarantine"]) == ("unknown", "AV-UNKNOWN", entry)
    assert took < WITHIN
    assert more <= MORE
    assert others < 2


@pytest.mark.parametrize(
    "mail",
    [
        TOP + b"\r\n" + b"begin 644 a\r\n" + (b"M" + b"#" * 60 + b"\r\n") * 800_000,
        TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=3D=\r\n= \t" * 5_000_000 + b"\r\n",
    ],
    ids=["uuencode", "quoted-printable"],
)
def test_what_takes_too_long_is_an_error(mail: bytes, hasty: RunSmtp, hop: NextHop) -> None:
    """50 MB that cannot be read, or checked, within the engine's timeout: deferred; others are served."""
    had = len([m for m in hop.mails if len(m.wire) > 1000])
    reply, took, others = send(hasty, mail)
    print(f"{len(mail) >> 20} MiB: {took:.2f} s, {reply!r}, others {others:.2f} s")
    assert reply.startswith(b"451 4.7.1 not accepted: error, id ")
    assert took < 2 + 2.5 + 2  # to read it, to check it, and what the machine takes besides
    assert others < 2
    assert len([m for m in hop.mails if len(m.wire) > 1000]) == had


def test_everything_is_given_back(gateway: RunSmtp, hasty: RunSmtp) -> None:
    """No spool is left, nothing crashed."""
    for run in (gateway, hasty):
        links = [link for place in processes(run) for link in _links(place)]
        assert [link for link in links if link.endswith(" (deleted)")] == []
        assert run.crashes() == []


def _links(place: Path) -> list[str]:
    return [str(link.readlink()) for link in (place / "fd").iterdir() if link.is_symlink()]
