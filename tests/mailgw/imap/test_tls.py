"""TLS on both sides, and what must not be believed before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.fakes.imap_server import ImapServer
from tests.mailgw.certificates import serving, towards_clients, towards_server, trusting
from tests.mailgw.imap.conftest import CLEAN, Start, body_of


async def test_starttls_is_ours(start: Start, server: ImapServer, ca: trustme.CA, pem: dict[str, Path]) -> None:
    """The server never hears the word; logins are offered behind it only."""
    client = await (await start(server, gateway=towards_clients(pem, "starttls"))).client()
    greeting = await client.line()
    assert b" LOGINDISABLED STARTTLS]" in greeting
    assert b"AUTH=" not in greeting
    assert b"SASL-IR" not in greeting
    for line in (b"LOGIN bob x", b"AUTHENTICATE PLAIN AGJvYgB4"):
        assert await client.ask(line) == b"NO [PRIVACYREQUIRED] say STARTTLS first\r\n"
    assert await client.ask(b"STARTTLS") == b"OK begin TLS\r\n"
    await client.start_tls(trusting(ca))
    offered = await client.ask(b"CAPABILITY")
    assert b"STARTTLS" not in offered
    assert b"AUTH=PLAIN" in offered
    assert await client.ask(b"STARTTLS") == b"BAD not now\r\n"
    assert b"OK" in await client.ask(b"LOGIN bob x")
    await client.ask(b"SELECT INBOX")
    assert body_of(await client.ask(b"FETCH 1 BODY[]"), 1) == CLEAN
    assert not [line for line in server.lines if b"STARTTLS" in line.upper()]


async def test_octets_behind_starttls_are_never_executed(
    start: Start, server: ImapServer, pem: dict[str, Path]
) -> None:
    """In the same segment: the connection ends, nothing of them reaches the server."""
    scene = await start(server, gateway=towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.line()
    client.send(b"a STARTTLS\r\nb CAPABILITY\r\n")
    assert await client.rest() == b""
    await scene.settled()
    assert not [line for line in server.lines if b"CAPABILITY" in line]


async def test_implicit_tls_towards_clients(
    start: Start, server: ImapServer, ca: trustme.CA, pem: dict[str, Path]
) -> None:
    """The greeting comes encrypted."""
    scene = await start(server, gateway=towards_clients(pem, "implicit"))
    client = await scene.client(trusting(ca))
    await client.begin()
    assert body_of(await client.ask(b"FETCH 1 BODY[]"), 1) == CLEAN


async def test_starttls_towards_the_server(
    start: Start, server: ImapServer, ca: trustme.CA, pem: dict[str, Path]
) -> None:
    """What it offered in the clear is not believed: the client gets what it offers in secret."""
    server.tls = serving(ca)
    server.answers[b"GREETING"] = b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hello\r\n"
    client = await (await start(server, gateway=towards_server(pem, "starttls"))).client()
    greeting = await client.line()
    assert b"AUTH=PLAIN" in greeting
    assert b"LOGINDISABLED" not in greeting
    assert greeting.endswith(b"] hello\r\n")
    assert b"OK" in await client.ask(b"LOGIN bob x")


@pytest.mark.parametrize("fault", ["refused", "preauth", "wrong name", "unknown ca", "injected"])
async def test_there_is_no_falling_back_to_plain(
    start: Start, server: ImapServer, ca: trustme.CA, pem: dict[str, Path], fault: str
) -> None:
    """Whatever goes wrong with TLS upstream: BYE, and no login."""
    server.tls = serving(ca)
    match fault:
        case "refused":
            server.answers[b"STARTTLS"] = b"TAG NO not now\r\n"
        case "preauth":
            server.answers[b"GREETING"] = b"* PREAUTH hello\r\n"
        case "wrong name":
            server.tls = serving(ca, "other.example.org")
        case "unknown ca":
            server.tls = serving(trustme.CA())
        case "injected":
            server.answers[b"STARTTLS"] = b"TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
    client = await (await start(server, gateway=towards_server(pem, "starttls"))).client()
    assert await client.rest() == b"* BYE the mail server cannot be reached, try again later\r\n"
    assert not [line for line in server.lines if b"LOGIN" in line]


async def test_preauth_is_a_login_where_no_tls_is_demanded(start: Start, server: ImapServer) -> None:
    """Of nobody by name; mails are checked all the same."""
    server.answers[b"GREETING"] = b"* PREAUTH hello\r\n"
    client = await (await start(server)).client()
    assert await client.line() == b"* PREAUTH hello\r\n"
    await client.ask(b"SELECT INBOX")
    assert b"REMOVED" in await client.ask(b"FETCH 2 BODY[]")
