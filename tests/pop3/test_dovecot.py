"""Dovecot directly, and Dovecot through the gateway: what differs is what is covered, and nothing else."""

from __future__ import annotations

import email
import hmac
import re
from base64 import b64decode, b64encode

import pytest

from scanners.specimens import EICAR
from tests.http.proxy import Record
from tests.mailgw.corpus import hiding, ordinary
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, reading
from tests.pop3.conftest import RunPop3, Wire
from tests.real.dovecot_pop3_server import PASSWORD, DovecotPop3

pytestmark = pytest.mark.dovecot_pop3

_HEAD = b"From: a@example.org\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
INFECTED = (
    _HEAD
    + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\nbefore\r\n--b\r\n\r\nhello\r\n--b\r\n'
    + b"Content-Type: application/octet-stream; name=a.com\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b64encode(EICAR + b"\0" * 60).replace(b"NO", b"N\r\nO")
    + b"\r\n--b--\r\nbehind\r\n"
)
SHAPES = {
    "dots": _HEAD + b"\r\n.\r\n..\r\n...a\r\n.\r\n",
    "dot in header": _HEAD + b".X: a\r\n\r\nb\r\n",
    "empty body": _HEAD + b"\r\n",
    "header only": _HEAD,
    "nothing": b"",
    "one blank line": b"\r\n",
    "no final line end": _HEAD + b"\r\nhello",
    "blank lines": _HEAD + b"\r\n\r\n\r\na\r\n\r\n\r\n",
    "nul and 8-bit": _HEAD + b"\r\n" + bytes(c for c in range(256) if c not in (10, 13)) + b"\r\n",
    "8-bit header": b"Subject: \xe4\xf6\r\n" + _HEAD + b"\r\nx\r\n",
    "5000 octets": _HEAD + b"\r\n" + b"y" * 5000 + b"\r\n",
    "trailing blanks": _HEAD + b"\r\na  \r\n\t\r\n \r\n",
    "a megabyte": _HEAD + b"\r\n" + b"0123456789abcde\r\n" * 60_000,
    "looks like POP3": _HEAD + b"\r\n+OK\r\n-ERR\r\nQUIT\r\n",
}
_CLEAN = [*SHAPES.values(), *list(ordinary.MAILS.values())[::4]]


def both(dovecot: DovecotPop3, gateway: RunPop3, user: str) -> list[Wire]:
    """Two clients: of Dovecot, and of the gateway before it. One mailbox can be open twice in Dovecot."""
    clients = [Wire(dovecot.port), Wire(gateway.port)]
    for client in clients:
        client.login(user)
    return clients


def test_clean_mails_and_lists_are_the_same_octet_for_octet(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """STAT, LIST, UIDL before and after, RETR, TOP of every number of lines that matters; a quarter of the corpus."""
    user = dovecot.fill(_CLEAN)
    direct, through = both(dovecot, gateway, user)
    for again in (1, 2):
        assert direct.ask(b"STAT") == through.ask(b"STAT"), again
        for line in (b"LIST", b"UIDL"):
            assert direct.fetch(line) == through.fetch(line)
        for number in range(1, len(_CLEAN) + 1) if again == 1 else ():
            for line in (b"LIST %d", b"UIDL %d"):
                assert direct.ask(line % number) == through.ask(line % number)
            for line in (b"TOP %d 0", b"TOP %d 2", b"TOP %d 99999999", b"RETR %d"):
                theirs, ours = (client.fetch(line % number) for client in (direct, through))
                assert ours == theirs, (line, number)
    for line in (b"RETR 9999", b"DELE 9999", b"LIST 9999", b"TOP 9999 1"):
        assert direct.ask(line) == through.ask(line) or b"TOP" in line
    assert not gateway.crashes()


def test_an_infected_mail_has_the_same_lengths(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """As many octets in as many lines, no virus, the notice readable, siblings untouched; TOP differs there alone."""
    user = dovecot.fill([INFECTED])
    direct, through = both(dovecot, gateway, user)
    theirs, ours = direct.fetch(b"RETR 1"), through.fetch(b"RETR 1")
    assert [len(line) for line in ours.split(b"\r\n")] == [len(line) for line in theirs.split(b"\r\n")]
    status, _, mail = ours.partition(b"\r\n")
    assert status == b"+OK %d octets" % len(INFECTED)
    parts = email.message_from_bytes(mail).get_payload()
    assert isinstance(parts, list)
    shown = parts[1].get_payload(decode=True)  # type: ignore[union-attr]  # a list of messages
    assert isinstance(shown, bytes)
    assert shown.startswith(b"a.com was found: Eicar-Test-Signature, says AV.\r\nAsk the postmaster about ")
    assert len(shown) == len(EICAR) + 60
    changed = re.search(rb"base64\r\n\r\n(.*?)\r\n--b--", mail, re.DOTALL)
    original = re.search(rb"base64\r\n\r\n(.*?)\r\n--b--", INFECTED, re.DOTALL)
    assert changed
    assert original
    assert mail.replace(changed[1], original[1]) == INFECTED
    assert direct.fetch(b"TOP 1 6") == through.fetch(b"TOP 1 6")
    assert through.ask(b"DELE 1").startswith(b"+OK")
    assert through.ask(b"QUIT").startswith(b"+OK")
    record = last_record(gateway, user)
    assert (record["status"], record["action"], record["size"]) == ("found", "replace", len(INFECTED))
    kept = gateway.directory / "quarantine" / f"{record['quarantine']}.data"
    assert kept.read_bytes() == INFECTED
    again = Wire(dovecot.port)
    again.login(user)
    assert again.ask(b"STAT") == b"+OK 0 0\r\n"


def last_record(gateway: RunPop3, user: str) -> Record:
    """The latest of that user, waited for."""
    found: list[Record] = gateway.wait_until(
        lambda: [r for r in tuple(gateway.records) if r.get("user") == user], f"a record of {user}", 5
    )
    return found[-1]


def test_no_hidden_payload_reaches_a_reader(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """Mails that hide a virus, by every structure and encoding: each is covered at its length, or refused."""
    known = {name: mail for name, mail in (hiding.HONEST | hiding.ODD).items() if not name.endswith(("/zip", "/gzip"))}
    mails = [*list(known.values())[::6], known["cr-separators/qp-hex"]]
    user = dovecot.fill(mails)
    direct, through = both(dovecot, gateway, user)
    refused = 0
    for number in range(1, len(mails) + 1):
        status = through.ask(b"RETR %d" % number)
        if not status.startswith(b"+OK"):
            refused += 1
            assert b" not accepted: " in status
            continue
        mail = through.body().replace(b"\r\n..", b"\r\n.")
        theirs = direct.fetch(b"RETR %d" % number).partition(b"\r\n")[2].replace(b"\r\n..", b"\r\n.")
        assert len(mail) == len(theirs)
        with reading(mail) as again:
            assert not finds(again)
        for read in other_readers.READERS.values():
            assert not any(EICAR in shown for shown in read(mail)), number
    assert refused < len(mails) // 5
    assert not gateway.crashes()


def test_a_pipelined_session(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """From USER to QUIT in one segment: the same octets as Dovecot's own."""
    user = dovecot.fill([SHAPES["dots"], SHAPES["empty body"]]).encode()
    lines = (b"USER " + user, b"PASS " + PASSWORD.encode(), b"STAT", b"LIST", b"RETR 1", b"TOP 2 1", b"NOOP", b"QUIT")
    answers = []
    for port in (dovecot.port, gateway.port):
        client = Wire(port)
        client.send(b"".join(line + b"\r\n" for line in lines))
        answers.append(client.rest())
    assert answers[0] == answers[1]
    assert answers[1].endswith(b"+OK Logging out.\r\n")


def test_logins_of_every_kind(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """AUTH PLAIN with and without initial response, cancelled, LOGIN, CRAM-MD5, APOP; a wrong password is refused."""
    user = dovecot.fill([SHAPES["dots"]]).encode()
    plain = b64encode(b"\0" + user + b"\0" + PASSWORD.encode())
    client = Wire(gateway.port)
    assert client.ask(b"AUTH PLAIN") == b"+ \r\n"
    assert client.ask(plain).startswith(b"+OK")
    assert client.ask(b"STAT").startswith(b"+OK 1 ")
    client = Wire(gateway.port)
    assert client.ask(b"AUTH PLAIN " + plain).startswith(b"+OK")
    client = Wire(gateway.port)
    assert client.ask(b"AUTH LOGIN").startswith(b"+ ")
    assert client.ask(b64encode(user)).startswith(b"+ ")
    assert client.ask(b64encode(PASSWORD.encode())).startswith(b"+OK")
    client = Wire(gateway.port)
    challenge = client.ask(b"AUTH CRAM-MD5")
    digest = hmac.new(PASSWORD.encode(), b64decode(challenge[2:]), "md5").hexdigest().encode()
    assert client.ask(b64encode(user + b" " + digest)).startswith(b"+OK")
    client.fetch(b"RETR 1")
    assert last_record(gateway, user.decode())["status"] == "free"
    # Last, for Dovecot makes who fails wait.
    client = Wire(gateway.port)
    assert client.ask(b"AUTH PLAIN") == b"+ \r\n"
    assert client.ask(b"*").startswith(b"-ERR")
    assert client.ask(b"USER " + user).startswith(b"+OK")
    assert client.ask(b"PASS wrong").startswith(b"-ERR [AUTH]")


def test_capabilities_are_dovecots_without_what_is_ours(dovecot: DovecotPop3, gateway: RunPop3) -> None:
    """No STLS on the clear path, nothing that we do not know."""
    words = Wire(gateway.port).fetch(b"CAPA").split(b"\r\n")
    assert words == [
        b"+OK",
        *(b"TOP", b"UIDL", b"RESP-CODES", b"PIPELINING", b"AUTH-RESP-CODE", b"USER"),
        b"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256",
        b"",
    ]
