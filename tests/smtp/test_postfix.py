"""Postfix as the next hop, and as the front with `smtpd_proxy_filter`."""

from __future__ import annotations

import hashlib
import re
import shutil
from base64 import b64encode

import pytest

from scanners.specimens import EICAR
from tests.real.postfix_server import PostfixServer
from tests.smtp.conftest import RunSmtp, Wire, queued

pytestmark = pytest.mark.postfix

HEAD = b"Message-ID: <1@example.org>\r\nFrom: a@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: s\r\n"
MIXED = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
PARTS = b"--x\r\nContent-Type: text/plain\r\n\r\none\r\n--x\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--x--\r\n"

# As they stand between DATA and the final dot.
SHAPES = {
    "plain": HEAD + b"\r\nhello\r\n",
    "empty": b"",
    "header only": HEAD,
    "header and blank": HEAD + b"\r\n",
    "leading dots": HEAD + b"\r\n..\r\n...\r\n..a\r\n",
    "dots alone": HEAD + b"\r\n" + b"..\r\n" * 50,
    "dot in header": HEAD + b"X-Dots: a\r\n ..b\r\n\r\nc\r\n",
    "nul": HEAD + b"\r\na\0b\0\r\n",
    "8-bit body": HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n",
    "8-bit header": HEAD + b"X-Raw: \xe4\xf6\xfc\r\n\r\nx\r\n",
    "5000 octets": HEAD + b"\r\n" + b"y" * 5000 + b"\r\n",
    "998 octets": HEAD + b"\r\n" + b"y" * 998 + b"\r\n",
    "100000 octets": HEAD + b"\r\n" + b"z" * 100_000 + b"\r\n",
    "trailing blanks": HEAD + b"\r\na   \r\nb\t\r\n \r\n",
    "trailing blank lines": HEAD + b"\r\na\r\n\r\n\r\n\r\n",
    "leading blank lines": HEAD + b"\r\n\r\n\r\na\r\n",
    "controls": HEAD + b"\r\n" + bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n",
    "folded subject": HEAD.replace(b"Subject: s", b"Subject: s\r\n\tt\r\n  u") + b"\r\nx\r\n",
    "encoded subject": HEAD.replace(b"Subject: s", b"Subject: =?utf-8?q?=C3=A4?= =?utf-8?q?b?=") + b"\r\nx\r\n",
    "utf-8": HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa4\xe2\x82\xac\r\n",
    "multipart": HEAD + MIXED + PARTS,
    "preamble and epilogue": HEAD + MIXED + b"before\r\n" + PARTS + b"behind\r\n",
    "no close": HEAD + MIXED + PARTS.replace(b"--x--\r\n", b""),
    "signed by dkim": b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=k;\r\n\tb=AAAA\r\n"
    + HEAD
    + b"\r\nsigned  \r\n\r\n",
    "quoted-printable": HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=\r\nb=20\r\n",
    "looks like commands": HEAD + b"\r\nQUIT\r\nDATA\r\nRSET\r\n",
    "a megabyte": HEAD + b"\r\n" + b"0123456789abcde\r\n" * 60_000,
}

SMUGGLED = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n"]


def arrived(postfix: PostfixServer, reply: bytes) -> bytes:
    """The mail that the reply says was queued."""
    return postfix.content(queued(reply))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mail_arrives_octet_for_octet(shape: str, postfix: PostfixServer, unfiltered: RunSmtp) -> None:
    """Its hash in Postfix's queue is that of the same mail sent to Postfix directly."""
    hashes = []
    for port in (postfix.port, unfiltered.port):
        client = Wire(port)
        mail = arrived(postfix, client.mail(SHAPES[shape]))
        hashes.append((len(mail), hashlib.sha256(mail).hexdigest()))
        client.close()
    assert hashes[0] == hashes[1]


def test_what_postfix_offers_is_offered_as_far_as_we_vouch_for_it(postfix: PostfixServer, wire: Wire) -> None:
    """Its greeting is the client's; ETRN goes, the rest stays (from this machine XFORWARD, too)."""
    assert wire.greeting == b"220 mx.example.org ESMTP Postfix\r\n"
    words = [line[4:].split()[0] for line in wire.ask(b"EHLO me").splitlines()]
    assert words == [
        b"mx.example.org",
        b"PIPELINING",
        b"SIZE",
        b"VRFY",
        b"XFORWARD",
        b"ENHANCEDSTATUSCODES",
        b"8BITMIME",
        b"DSN",
        b"SMTPUTF8",
        b"CHUNKING",
    ]


@pytest.mark.parametrize("form", SMUGGLED)
def test_smuggled_ends_make_no_second_mail(form: bytes, postfix: PostfixServer, wire: Wire) -> None:
    """One answer, a refusal, and Postfix, which would have taken some of these for an end, has nothing."""
    before = postfix.held()
    inner = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
    assert wire.mail(HEAD + b"\r\na" + form + inner).startswith(b"550 5.6.11")
    assert wire.ask(b"NOOP").startswith(b"250")
    assert postfix.held() == before


def test_an_infected_mail_is_discarded_and_kept(postfix: PostfixServer, gateway: RunSmtp, wire: Wire) -> None:
    """15.5: 250 for the client, nothing for Postfix, the original in the quarantine; the session goes on."""
    before = postfix.held()
    mail = HEAD + b"\r\n" + EICAR + b"\r\n"
    reply = wire.mail(mail)
    assert reply.startswith(b"250 2.0.0 accepted, id ")
    kept = gateway.directory / "quarantine" / f"{reply.split()[-1].decode()}.data"
    assert kept.read_bytes() == mail
    assert postfix.held() == before
    assert arrived(postfix, wire.mail(SHAPES["plain"])).endswith(b"hello\n")


def test_an_infected_attachment_in_base64_is_found(postfix: PostfixServer, wire: Wire) -> None:
    """What the raw octets do not show, the decoded part does."""
    before = postfix.held()
    coded = b"\r\n".join(re.findall(b".{1,76}", b64encode(EICAR)))
    part = b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded
    assert wire.mail(HEAD + MIXED + part + b"\r\n--x--\r\n").startswith(b"250 2.0.0 accepted, id ")
    assert postfix.held() == before


def test_one_of_two_recipients_is_refused_by_postfix(postfix: PostfixServer, wire: Wire) -> None:
    """Its 554 reaches the client, the other recipient gets the mail."""
    wire.ask(b"EHLO me")
    wire.ask(b"MAIL FROM:<a@example.org>")
    assert wire.ask(b"RCPT TO:<nobody@example.com>").startswith(b"554 5.7.1 <nobody@example.com>")
    assert wire.ask(b"RCPT TO:<b@example.com>").startswith(b"250")
    wire.ask(b"DATA")
    assert b"hello" in arrived(postfix, wire.ask(SHAPES["plain"] + b"."))


def test_chunks_reach_postfix_as_chunks(postfix: PostfixServer, wire: Wire) -> None:
    """BDAT with CRLF.CRLF in it is one mail."""
    wire.ask(b"EHLO me")
    wire.ask(b"MAIL FROM:<a@example.org>")
    wire.ask(b"RCPT TO:<b@example.com>")
    mail = HEAD + b"\r\na\r\n.\r\nb\r\n"
    wire.send(b"BDAT 5\r\n" + mail[:5] + b"BDAT %d LAST\r\n" % (len(mail) - 5) + mail[5:])
    assert wire.reply().startswith(b"250 2.0.0 5 octets")
    assert arrived(postfix, wire.reply()).endswith(b"\na\n.\nb\n")


def test_postfix_in_front_passes_on_who_the_client_is(postfix: PostfixServer, gateway: RunSmtp) -> None:
    """Before-queue filter: clean mail passes, XFORWARD tells us and the inner Postfix of the real client."""
    client = Wire(postfix.front_port, source="127.0.0.2")
    assert b"hello" in arrived(postfix, client.mail(SHAPES["plain"]))
    client.close()
    assert re.search(r"client=[^ ]*\[127\.0\.0\.2\]", postfix.log())
    gateway.wait_until(lambda: any(r["client"] == "127.0.0.2" for r in tuple(gateway.records)), "a record of it", 5)


def test_postfix_in_front_hands_on_what_we_say_of_a_virus(postfix: PostfixServer, gateway: RunSmtp) -> None:
    """The filter's answer is the one that Postfix's client hears."""
    before = postfix.held()
    client = Wire(postfix.front_port)
    assert b"accepted, id " in client.mail(HEAD + b"\r\n" + EICAR + b"\r\n")
    client.close()
    assert postfix.held() == before


def test_everything_is_there_to_test_with() -> None:
    """There are 27 shapes, and postcat to read them by."""
    assert len(SHAPES) == 27
    assert shutil.which("postcat", path="/usr/sbin:/usr/bin")
