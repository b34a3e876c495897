"""What the answer to EHLO promises."""

from __future__ import annotations

from mailgw.smtp.capabilities import Terms, filter_ehlo, may_use
from mailgw.smtp.replies import Reply, take_reply

POSTFIX = b"""\
250-mx.example.org
250-PIPELINING
250-SIZE 10240000
250-VRFY
250-ETRN
250-STARTTLS
250-AUTH PLAIN GSSAPI SCRAM-SHA-256 SCRAM-SHA-256-PLUS
250-AUTH=LOGIN
250-ENHANCEDSTATUSCODES
250-8BITMIME
250-DSN
250-SMTPUTF8
250-BINARYMIME
250-BURL imap
250-XCLIENT NAME ADDR
250-XFORWARD NAME ADDR
250-X-UNHEARD-OF
250-LIMITS RCPTMAX=10
250 CHUNKING
"""


def offered(terms: Terms, reply: bytes = POSTFIX) -> list[str]:
    """The lines behind the first."""
    whole = take_reply(bytearray(reply.replace(b"\n", b"\r\n")))
    assert whole is not None
    offer = filter_ehlo(whole, terms)
    again = take_reply(bytearray(offer.reply.wire()))
    assert again == offer.reply
    assert again.texts[0] == whole.texts[0]
    assert offer.keywords == {text.split()[0].decode() for text in again.texts[1:]}
    return [text.decode() for text in again.texts[1:]]


def test_what_we_do_not_vouch_for_is_dropped() -> None:
    """STARTTLS, BURL, BINARYMIME, XCLIENT, ETRN and the unheard of; XFORWARD from strangers; what binds a channel."""
    assert offered(Terms(max_size=2**30)) == [
        "PIPELINING",
        "SIZE 10240000",
        "VRFY",
        "AUTH PLAIN SCRAM-SHA-256",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8",
        "LIMITS RCPTMAX=10",
        "CHUNKING",
    ]


def test_terms_add_and_take() -> None:
    """STARTTLS is ours; AUTH may be held back; XFORWARD is for the trusted; the lesser size counts."""
    lines = offered(Terms(max_size=1000, starttls=True, auth=False, trusted=True))
    assert "STARTTLS" in lines
    assert "XFORWARD NAME ADDR" in lines
    assert "SIZE 1000" in lines
    assert not [line for line in lines if line.startswith("AUTH")]


def test_a_next_hop_without_a_limit_gets_ours() -> None:
    """SIZE alone, or SIZE 0, is no limit; and without SIZE none is promised."""
    assert offered(Terms(max_size=7), b"250-a\n250 SIZE\n") == ["SIZE 7"]
    assert offered(Terms(max_size=7), b"250-a\n250 SIZE 0\n") == ["SIZE 7"]
    assert offered(Terms(max_size=7), b"250 a\n") == []


def test_a_greeting_alone_stays_one_line() -> None:
    """Nothing offered, nothing added."""
    assert filter_ehlo(Reply(250, (b"250 a",)), Terms(max_size=1)).reply.wire() == b"250 a\r\n"


def test_mechanisms_that_wrap_the_connection_cannot_be_used() -> None:
    """They would take the octets out of our sight, or fail between two TLS connections."""
    assert may_use("plain")
    assert not may_use("GSSAPI")
    assert not may_use("SCRAM-SHA-256-PLUS")
