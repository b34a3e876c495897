"""What comes through the gateway beside what Dovecot itself says, item by item, mail by mail."""

from __future__ import annotations

import base64
import quopri
import random
import re
from collections.abc import Callable

import pytest

from scanners.specimens import EICAR
from tests.imap.conftest import RunImap
from tests.imap.wire import Wire, fetched
from tests.mailgw.corpus import hiding, ordinary
from tests.real.dovecot_server import PASSWORD, USER

pytestmark = pytest.mark.dovecot

ITEMS = [
    b"ALL",
    b"FAST",
    b"FULL",
    b"FLAGS",
    b"(UID RFC822.SIZE)",
    b"INTERNALDATE",
    b"ENVELOPE",
    b"BODY",
    b"BODYSTRUCTURE",
    b"BODY[]",
    b"BODY.PEEK[]",
    b"BODY[HEADER]",
    b"BODY[TEXT]",
    b"BODY[1]",
    b"BODY[2]",
    b"BODY[1.1]",
    b"BODY[2.1]",
    b"BODY[2.HEADER]",
    b"BODY[2.TEXT]",
    b"BODY[1.MIME]",
    b"BODY[2.MIME]",
    b"BODY[HEADER.FIELDS (SUBJECT {2+}\r\nTo)]",
    b"BODY[HEADER.FIELDS.NOT (SUBJECT)]",
    b"BODY[]<0.100>",
    b"BODY[]<200.5000>",
    b"BODY[1]<3.17>",
    b"BODY[2]<5.60>",
    b"BODY[TEXT]<10.4000>",
    b"RFC822",
    b"RFC822.HEADER",
    b"RFC822.TEXT",
    b"BINARY[]",
    b"BINARY.PEEK[1]",
    b"BINARY.PEEK[2]",
    b"BINARY[2]<3.20>",
    b"BINARY.SIZE[1]",
    b"BINARY.SIZE[2]",
    b"(UID FLAGS BODY[1] BODY[2] RFC822.SIZE)",
    b"(BODY.PEEK[TEXT] BODY[] BODY[2]<0.30> ENVELOPE)",
]
LENIENT = re.compile(rb"[^A-Za-z0-9+/]")


def shows_virus(data: bytes) -> bool:
    """Whether EICAR stands in it, as it is, in base64, or in quoted-printable."""
    if EICAR in data or EICAR in quopri.decodestring(data):
        return True
    letters = LENIENT.sub(b"", data.replace(b"=", b""))
    text = b64(letters, 0) + b64(letters, 1) + b64(letters, 2) + b64(letters, 3)
    return EICAR in text


def b64(letters: bytes, skip: int) -> bytes:
    """Decoded from one of the four places where a group may begin."""
    letters = letters[skip:]
    return base64.b64decode(letters[: len(letters) // 4 * 4])


def compare(direct: dict[int, bytes], ours: dict[int, bytes], mails: list[str]) -> None:
    """Lengths equal in all, clean mails' octets, too; no virus in any."""
    assert sorted(direct) == sorted(ours)
    for number, unit in ours.items():
        name = mails[number - 1]
        assert not shows_virus(unit), (name, unit)
        assert len(unit) == len(direct[number]) or _same_lengths(unit, direct[number]), name
        if name in ordinary.MAILS:
            assert unit == direct[number], name


def _same_lengths(ours: bytes, direct: bytes) -> bool:
    """A quoted string may have become a literal of as many octets."""
    return re.findall(rb"\{(\d+)\}", ours) == re.findall(rb"\{(\d+)\}", re.sub(rb'\] "([^"]*)"', _as_literal, direct))


def _as_literal(found: re.Match[bytes]) -> bytes:
    return b"] {%d}" % len(found[1])


def differ(direct: dict[int, bytes], ours: dict[int, bytes]) -> list[int]:
    """The numbers whose octets are not the same."""
    return [number for number in direct if direct[number] != ours[number]]


@pytest.mark.parametrize("kind", [b"FETCH", b"UID FETCH"], ids=["number", "uid"])
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.decode().replace("\r\n", "~"))
def test_an_item_has_the_length_that_it_has_without_us(
    item: bytes, kind: bytes, dovecot: int, gateway: RunImap, mails: list[str], pair: tuple[Wire, Wire]
) -> None:
    """For every mail: the same answers, the same lengths, the same octets of clean mails, EICAR in none."""
    # Dovecot ends a command at the first part that it cannot decode: those are asked mail by mail.
    sets = [b"%d" % n for n in range(1, len(mails) + 1)] if item.startswith(b"BINARY") else [b"1:*"]
    for wanted in sets:
        (direct, said), (ours, ours_said) = (client.ask(kind + b" " + wanted + b" " + item) for client in pair)
        assert said.split()[1:3] == ours_said.split()[1:3]
        compare(fetched(direct), fetched(ours), mails)
        assert wanted != b"1:*" or len(fetched(direct)) == len(mails)


@pytest.fixture(scope="module")
def pair(dovecot: int, gateway: RunImap, mails: list[str]):
    """A client of Dovecot and one of the gateway, with the mailbox open for reading."""
    clients = Wire(dovecot), Wire(gateway.port)
    for client in clients:
        client.login(USER, PASSWORD)
        client.good(b"EXAMINE INBOX")
    yield clients
    for client in clients:
        client.close()


def test_every_infected_mail_was_changed_and_says_so(mails: list[str], pair: tuple[Wire, Wire]) -> None:
    """Those of the corpus that hide EICAR come otherwise than they are; the ordinary ones do not."""
    direct, ours = (fetched(client.good(b"FETCH 1:* BODY.PEEK[]")) for client in pair)
    changed = {mails[number - 1] for number in differ(direct, ours)}
    assert changed == {name for name in mails if name not in ordinary.MAILS}
    assert len(mails) >= 35


def test_pieces_put_together_are_the_whole(mails: list[str], pair: tuple[Wire, Wire]) -> None:
    """Random ranges have the octets of the whole as it comes through us."""
    dice = random.Random(7)  # noqa: S311 - the same ranges every time
    client = pair[1]
    for number in range(1, len(mails) + 1, 3):
        whole = literal(client.good(b"FETCH %d BODY.PEEK[]" % number)[0])
        for _ in range(6):
            start, size = dice.randrange(len(whole)), dice.randrange(1, 400)
            piece = client.good(b"FETCH %d BODY.PEEK[]<%d.%d>" % (number, start, size))[0]
            assert literal(piece) == whole[start : start + size]


def test_a_virus_cannot_be_put_together_from_pieces(mails: list[str], pair: tuple[Wire, Wire]) -> None:
    """Twenty octets at a time, of a part, with BODY and with BINARY."""
    number = next(n for n, name in enumerate(mails, 1) if name in hiding.HONEST and name.startswith("mixed"))
    for item in (b"BODY.PEEK[2]<%d.20>", b"BINARY.PEEK[2]<%d.20>", b"BODY.PEEK[TEXT]<%d.20>"):
        together = b""
        for start in range(0, 2000, 20):
            piece = literal(pair[1].good(b"FETCH %d %s" % (number, item % start))[0])
            together += piece
        assert not shows_virus(together)


def literal(unit: bytes) -> bytes:
    """The one body in a response."""
    found = re.search(rb" ~?\{(\d+)\}\r\n", unit)
    if found:
        return unit[found.end() : found.end() + int(found[1])]
    quoted = re.search(rb'\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', unit)
    return re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted else b""


def test_metadata_costs_no_check(
    dovecot: int, gateway: RunImap, connect: Callable[[int], Wire], mails: list[str]
) -> None:
    """A mailbox that is only listed leaves no record."""
    direct = connect(dovecot)
    direct.ask(b"CREATE Listed")
    for _ in range(3):
        direct.append(b"Listed", b"Subject: x\r\n\r\nx\r\n", plus=b"+")
    client = connect(gateway.port)
    client.good(b"SELECT Listed")
    before = len(gateway.records)
    client.good(b"FETCH 1:* (FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER] BINARY.SIZE[1])")
    assert len(gateway.records) == before
    client.good(b"FETCH 1 BODY.PEEK[]")
    gateway.wait_until(lambda: len(gateway.records) == before + 1, "a record", 5)
