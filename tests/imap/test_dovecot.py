"""Sessions through the gateway with a real Dovecot: what it can do, its clients still can."""

from __future__ import annotations

import asyncio
import lzma
import re
from collections.abc import Callable, Iterator

import aioimaplib
import pytest

from scanners.specimens import EICAR
from tests.imap.conftest import DENY, REPLACE, RunImap, write_policy
from tests.imap.wire import Wire, fetched
from tests.mailgw.corpus import hiding
from tests.real.dovecot_server import PASSWORD, USER

pytestmark = pytest.mark.dovecot

type Connect = Callable[[int], Wire]

CLEAN = b"Message-ID: <c@example.org>\r\nSubject: a * b ( {12}\r\nFrom: \xe4 <a@example.org>\r\n\r\nHello.\r\n"
INFECTED = hiding.HONEST["mixed/base64"]


@pytest.fixture
def box(dovecot: int, request: pytest.FixtureRequest) -> Iterator[bytes]:
    """A mailbox of the test's own: clean, infected, clean."""
    name = b"box-%d" % (abs(hash(request.node.name)) % 10**9)
    client = Wire(dovecot)
    client.login(USER, PASSWORD)
    client.good(b"CREATE " + name)
    for mail in (CLEAN, INFECTED, CLEAN + b"again\r\n"):
        assert b" OK " in client.append(name, mail, plus=b"+")
    yield name
    client.ask(b"DELETE " + name)
    client.close()


@pytest.fixture(scope="module")
def denying(dovecot: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunImap]:
    """What is infected is denied."""
    home = tmp_path_factory.mktemp("denying")
    with RunImap(write_policy(home, dovecot, DENY), home) as run:
        yield run


def test_seen_is_set_by_the_client_s_own_command(gateway: RunImap, connect: Connect, box: bytes) -> None:
    """By BODY[], not by PEEK, nor by the check."""
    client = connect(gateway.port)
    client.good(b"SELECT " + box)
    client.good(b"FETCH 1 BODY.PEEK[]")
    assert b"\\Seen" not in client.good(b"FETCH 1 FLAGS")[0]
    units = client.good(b"FETCH 2 BODY[]")
    assert b"\\Seen" in b"".join(units)
    assert b"\\Seen" in client.good(b"FETCH 2 FLAGS")[0]


def test_what_only_binary_shows_is_checked(dovecot: int, denying: RunImap, connect: Connect, box: bytes) -> None:
    """NUL comes as another octet by BODY, so that an archive is broken there; by BINARY it is whole, and is refused."""
    direct, client = connect(dovecot), connect(denying.port)
    archive = lzma.compress(EICAR + b" " * 2000)
    head = b"MIME-Version: 1.0\r\nContent-Type: application/x-xz\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    assert b" OK " in direct.append(box, head + archive, plus=b"+")  # not ~{n}: Dovecot would make it base64
    for one in (direct, client):
        one.good(b"SELECT " + box)
    assert archive in b"".join(direct.good(b"FETCH 4 BINARY.PEEK[1]"))
    assert archive not in b"".join(direct.good(b"FETCH 4 BODY.PEEK[1]"))
    client.good(b"FETCH 4 BODY.PEEK[1]")
    for item in (b"BINARY.PEEK[1]", b"BINARY[1]<0.20>", b"BINARY[]"):
        assert re.search(rb" NO not accepted: found .* id \w+", client.ask(b"FETCH 4 " + item)[1])


def test_a_denied_mail_is_left_out_of_several(denying: RunImap, connect: Connect, box: bytes) -> None:
    """Its neighbours come, the answer is NO; it can be deleted all the same."""
    client = connect(denying.port)
    client.good(b"SELECT " + box)
    units, last = client.ask(b"UID FETCH 1:* BODY[]")
    assert sorted(fetched(units)) == [1, 3]
    assert re.search(rb"NO not accepted: found .* id \w+\r\n", last)
    client.good(b"STORE 2 +FLAGS (\\Deleted)")
    assert client.good(b"EXPUNGE")[0] == b"* 2 EXPUNGE\r\n"
    assert sorted(fetched(client.good(b"FETCH 1:* BODY[]"))) == [1, 2]


def test_saved_searches_and_changes_narrow_a_fetch(gateway: RunImap, connect: Connect, box: bytes) -> None:
    """`$`, CHANGEDSINCE with VANISHED, ESEARCH."""
    client = connect(gateway.port)
    client.good(b"ENABLE QRESYNC")
    client.good(b"SELECT " + box)
    client.good(b"SEARCH RETURN (SAVE) SUBJECT mail")
    found = fetched(client.good(b"FETCH $ BODY.PEEK[]"))
    assert list(found) == [2]
    assert b"REMOVED" in found[2] or EICAR not in found[2]
    assert b"ESEARCH" in client.good(b"SEARCH RETURN (ALL) ALL")[0]
    modseq = re.search(rb"MODSEQ \((\d+)\)", client.good(b"STORE 2 +FLAGS (\\Flagged)")[0])
    assert modseq
    since = int(modseq[1]) - 1
    changed = client.good(b"UID FETCH 1:* (BODY.PEEK[] FLAGS) (CHANGEDSINCE %d VANISHED)" % since)
    assert list(fetched(changed)) == [2]
    client.good(b"STORE 2 -FLAGS (\\Flagged)")


def test_idle_tells_of_new_mail(dovecot: int, gateway: RunImap, connect: Connect, box: bytes) -> None:
    """While it waits; then the new mail is checked as any."""
    client, other = connect(gateway.port), connect(dovecot)
    client.good(b"SELECT " + box)
    client.send(b"i IDLE\r\n")
    assert client.unit().startswith(b"+ ")
    other.append(box, INFECTED, plus=b"+")
    assert client.unit() == b"* 4 EXISTS\r\n"
    client.send(b"DONE\r\n")
    client.answers(b"i")
    assert len(client.good(b"FETCH 4 BODY.PEEK[TEXT]")[0]) > len(EICAR)


def test_mails_that_others_delete_shift_nothing(dovecot: int, gateway: RunImap, connect: Connect, box: bytes) -> None:
    """The infected mail moves from 2 to 1 behind our back: it stays covered, by number and by UID."""
    client, other = connect(gateway.port), connect(dovecot)
    client.good(b"SELECT " + box)
    client.good(b"FETCH 1:* BODY.PEEK[]")
    other.good(b"SELECT " + box)
    other.good(b"STORE 1 +FLAGS (\\Deleted)")
    other.good(b"EXPUNGE")
    by_uid = b"".join(client.good(b"UID FETCH 1:* BODY.PEEK[2]"))
    client.good(b"NOOP")
    by_number = b"".join(client.good(b"FETCH 1:* BODY.PEEK[2]"))
    coded = b"WDVPIVAlQEFQWzRcUFpYNTQoUF4p"
    assert coded in INFECTED
    assert coded not in by_uid + by_number
    assert len(fetched(client.good(b"FETCH 1:* BODY.PEEK[]"))) == 2


def test_mails_are_stored_covered_or_not_at_all(
    dovecot: int, gateway: RunImap, denying: RunImap, connect: Connect, box: bytes
) -> None:
    """`replace` stores as many octets, `deny` nothing; several by one command, too."""
    client, direct = connect(gateway.port), connect(dovecot)
    assert b"[APPENDUID " in client.append(box, INFECTED)
    assert b" OK " in client.append(box, CLEAN, CLEAN, plus=b"+")
    direct.good(b"SELECT " + box)
    stored = fetched(direct.good(b"FETCH 4:* (RFC822.SIZE BODY.PEEK[])"))
    assert sorted(stored) == [4, 5, 6]
    assert b"RFC822.SIZE %d" % len(INFECTED) in stored[4]
    assert b"WDVPIVAlQEFQWzRc" not in stored[4]
    assert CLEAN in stored[5]
    assert re.search(rb" NO not accepted: found .* id \w+", connect(denying.port).append(box, INFECTED))
    assert direct.good(b"STATUS %s (MESSAGES)" % box)[0].endswith(b"(MESSAGES 6)\r\n")


def test_everything_in_one_segment(gateway: RunImap, box: bytes) -> None:
    """LOGIN with literals, SELECT, FETCH, NOOP, LOGOUT: answered in order."""
    client = Wire(gateway.port)
    word = PASSWORD.encode()
    client.send(
        b"a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\nb SELECT %s\r\nc FETCH 1:3 (FLAGS BODY[1])\r\nd NOOP\r\ne LOGOUT\r\n"
        % (len(USER), USER.encode(), len(word), word, box)
    )
    for tag in (b"a", b"b", b"c", b"d", b"e"):
        assert client.answers(tag)[1].split(b" ")[1] == b"OK"
    client.close()


def test_moving_and_copying_are_the_server_s_business(gateway: RunImap, connect: Connect, box: bytes) -> None:
    """MOVE, COPY with COPYUID, UNSELECT, LIST with STATUS."""
    client = connect(gateway.port)
    client.good(b"SELECT " + box)
    assert b"[COPYUID " in client.ask(b"COPY 1 " + box)[1]
    client.ask(b"CREATE moved")
    assert any(b"EXPUNGE" in unit for unit in client.good(b"MOVE 1 moved"))
    client.good(b"UNSELECT")
    assert any(b"STATUS" in unit for unit in client.good(b'LIST "" * RETURN (STATUS (MESSAGES))'))
    client.good(b"DELETE moved")


async def test_aioimaplib_reads_through_us(gateway: RunImap, box: bytes) -> None:
    """A library's login, list, fetch, idle and append."""
    client = aioimaplib.IMAP4(host="127.0.0.1", port=gateway.port, timeout=20)
    await client.wait_hello_from_server()
    assert (await client.login(USER, PASSWORD)).result == "OK"
    assert (await client.select(box.decode())).result == "OK"
    answer = await client.uid("fetch", "1:3", "(UID FLAGS BODY.PEEK[])")
    assert answer.result == "OK"
    bodies = [bytes(line) for line in answer.lines if isinstance(line, bytearray)]
    assert bodies[0] == CLEAN
    assert [len(body) for body in bodies] == [len(CLEAN), len(INFECTED), len(CLEAN) + 7]
    assert bodies[1] != INFECTED
    idle = await client.idle_start(timeout=10)
    client.idle_done()
    await asyncio.wait_for(idle, 10)
    assert (await client.append(CLEAN, mailbox=box.decode())).result == "OK"
    await client.logout()


def test_a_session_ends_with_bye_when_the_gateway_does(
    dovecot: int, tmp_path_factory: pytest.TempPathFactory, connect: Connect
) -> None:
    """SIGTERM: an idle client is told."""
    home = tmp_path_factory.mktemp("ending")
    with RunImap(write_policy(home, dovecot, REPLACE), home) as run:
        client = connect(run.port)
    assert client.unit() == b"* BYE shutting down, try again later\r\n"
    assert client.unit() == b""
