"""What a client may have of a mail while it is checked."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.dots import stuff
from mailgw.pop3 import retrieval
from mailgw.pop3.keep_alive import KeepAlive, stuffed_header
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.engine import Body
from scanners.specimens import EICAR
from tests.fakes.pop3_server import Pop3Server
from tests.mailgw.pop3.conftest import CLEAN, DENY, REPLACE, Start
from tests.mailgw.scenes import wait_until

SLOW = "keep-alive: 50ms\n"


class Slow:
    """An engine that answers when it is told to."""

    def __init__(self, status: Status) -> None:
        self.go_on = asyncio.Event()
        self.status = status

    async def check(self, body: Body) -> ScanReport:
        """The status, later."""
        await self.go_on.wait()
        return ScanReport(antivirus="AV", protocol="slow", status=self.status)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Finds everything free, once told to."""
    engine = Slow(Status.FREE)
    monkeypatch.setattr(retrieval, "EVERY", 0.005)
    monkeypatch.setattr(Antivirus, "check", engine.check)
    return engine


@pytest.mark.parametrize(
    "head", [b"", b"A: b", b"A: b\r\n", b"A: b\r\n\r\n", b"\r\nA: b\r\n", EICAR + b"\r\nA: b\r\n\r\n"]
)
def test_nothing_of_the_last_line_or_of_what_is_no_header_leaves(head: bytes) -> None:
    """A single line is the last one; a body without a header is no header."""
    assert stuffed_header(head) == b""


def test_lines_before_the_last_may_leave_dots_doubled() -> None:
    """Folded lines too; what follows an odd line does not."""
    assert stuffed_header(b"A: b\r\n\tc\r\n.D: e\r\nF: g\r\n\r\nbody\r\n") == b"A: b\r\n\tc\r\n..D: e\r\n"
    assert stuffed_header(b"A: b\r\nC: d\r\nodd\r\nE: f\r\n\r\n") == b"A: b\r\n"


@settings(max_examples=200, database=None, derandomize=True)
@given(
    st.lists(st.sampled_from([b"A: b\r\n", b"..", b".C: d\r\n", b"\r\n", b" x\r\n", b"odd\r\n", b"\r", b"y"])),
    st.integers(0, 60),
)
def test_what_was_sent_and_the_rest_are_the_mail(pieces: list[bytes], ticks: int) -> None:
    """Octet for octet, however it grew meanwhile and however long the check took."""
    mail = b"".join(pieces)
    keep_alive = KeepAlive()
    assert keep_alive.next_octet(MemoryBody(mail)) == b""
    keep_alive.begin()
    sent = b"".join(keep_alive.next_octet(MemoryBody(mail[: tick * 7])) for tick in range(ticks))
    assert sent + b"".join(keep_alive.skip_sent(stuff([mail]))) == b"".join(stuff([mail]))
    header = mail[: mail.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in mail else mail
    assert len(sent) <= len(b"".join(stuff([header])))


async def test_a_slow_check_shows_signs_of_life(start: Start, server: Pop3Server, slow: Slow) -> None:
    """Nothing first, then the status line, then octets of the header but its last line; in the end all is as ever."""
    scene = await start(server, REPLACE + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    assert await client.line() == b"+OK %d octets\r\n" % len(CLEAN)
    allowed = CLEAN[: CLEAN.index(b"X-Last")]
    async with asyncio.timeout(10):
        early = await client.reader.readexactly(len(allowed))
    assert early == allowed
    assert scene.gateway.site is not None
    [told] = scene.gateway.site.checkpoint.tell()
    assert (told["object"], told["phase"], told["received"]) == ("user", "trickling", len(CLEAN))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            early += await client.reader.readexactly(1)
    slow.go_on.set()
    client.send(b"QUIT\r\n")
    assert early + await client.rest() == CLEAN + b".\r\n+OK\r\n"
    [record] = await scene.records(1)
    assert (record["action"], record["released"]) == ("accept", len(allowed))


@pytest.mark.parametrize("status", [Status.FOUND, Status.ERROR])
async def test_a_refusal_behind_a_sign_of_life_is_an_end_without_dot(
    start: Start, server: Pop3Server, slow: Slow, status: Status
) -> None:
    """There is no other word for it. What was found is refused at once the next time."""
    slow.status = status
    scene = await start(server, DENY + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    assert (await client.line()).startswith(b"+OK")
    slow.go_on.set()
    assert b"hello" not in await client.rest()
    [record] = await scene.records(1)
    assert record["status"] == status
    assert record["action"] == ("deny" if status is Status.FOUND else "defer")
    assert b"QUIT" not in server.lines
    again = await scene.client()
    await again.login()
    slow.go_on.clear()
    if status is Status.FOUND:
        assert (await again.ask(b"RETR 1")).startswith(b"-ERR not accepted: found")
        assert server.lines.count(b"RETR 1") == 1


async def test_a_client_that_leaves_amid_a_slow_check_stops_it(start: Start, server: Pop3Server, slow: Slow) -> None:
    """No engine is waited for on nobody's behalf."""
    scene = await start(server, REPLACE + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    assert await client.line()
    client.writer.transport.abort()
    [record] = await scene.records(1)
    assert record["reason"] == "client-gone"
    await scene.settled()


async def test_a_slow_server_is_bridged_too(start: Start, server: Pop3Server, slow: Slow) -> None:
    """What has come of the header is what may leave."""
    slow.go_on.set()
    server.mails = [b"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n" + b"x" * 99_972 + b"\r\n"]
    server.pause = len(b"+OK 100000 octets\r\nA: 1\r\nB: 2\r\nC: 3\r\nD:")
    scene = await start(server, REPLACE + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\nQUIT\r\n")
    status = await client.line()
    async with asyncio.timeout(10):
        early = await client.reader.readexactly(6)
    assert early == b"A: 1\r\n"
    server.go_on.set()
    whole = early + await client.rest()
    assert status.startswith(b"+OK 100000 ")
    assert hashlib.sha256(whole).digest() == hashlib.sha256(server.mails[0] + b".\r\n+OK\r\n").digest()


async def test_top_shows_signs_of_life_with_its_own_status_line(start: Start, server: Pop3Server, slow: Slow) -> None:
    """And ends where it ends."""
    scene = await start(server, REPLACE + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"TOP 1 0\r\nQUIT\r\n")
    assert await client.line() == b"+OK\r\n"
    slow.go_on.set()
    assert await client.rest() == CLEAN[: CLEAN.index(b"hello")] + b".\r\n+OK\r\n"
    await wait_until(lambda: server.ends == ["quit"])


async def test_a_server_that_breaks_off_behind_a_sign_of_life(start: Start, server: Pop3Server, slow: Slow) -> None:
    """The client sees the end amid the mail, and no word that it could take for a line of it."""
    server.pause, server.breaks = len(CLEAN), True
    scene = await start(server, REPLACE + SLOW)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    assert (await client.line()).startswith(b"+OK")
    server.go_on.set()
    rest = await client.rest()
    assert CLEAN.startswith(rest)
    assert rest != CLEAN
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("cut", "upstream")
    await scene.settled()


async def test_a_client_that_takes_nothing_is_left(start: Start, server: Pop3Server, slow: Slow) -> None:
    """After `stall`, and the record says so."""
    slow.go_on.set()
    server.mails = [b"Subject: large\r\n\r\n" + b"x" * (12 << 20) + b"\r\n"]
    scene = await start(server, REPLACE + "limits: {stall: 300ms}\n")
    client = await scene.client()
    await client.login()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it reads, too
    client.send(b"RETR 1\r\n")
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("cut", "client-gone")
