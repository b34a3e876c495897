"""TLS on both sides, and what must not be believed before it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from tests.fakes.pop3_server import Pop3Server
from tests.mailgw.certificates import serving, towards_clients, towards_server, trusting
from tests.mailgw.pop3.conftest import CLEAN, REPLACE, Client, Start
from tests.mailgw.scenes import wait_until


async def encrypt(client: Client, ca: trustme.CA) -> None:
    """STLS, and TLS."""
    assert (await client.ask(b"STLS")).startswith(b"+OK")
    await client.start_tls(trusting(ca))


async def test_stls_is_offered_and_needed(
    start: Start, server: Pop3Server, ca: trustme.CA, pem: dict[str, Path]
) -> None:
    """Before it no login is offered or taken; behind it all is as ever, and STLS is no more."""
    scene = await start(server, REPLACE + towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.line()
    assert await client.fetch(b"CAPA") == b"+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nSTLS\r\n.\r\n"
    for line in (b"USER user", b"PASS x", b"APOP a b", b"AUTH PLAIN AGEAYg=="):
        assert await client.ask(line) == b"-ERR say STLS first\r\n"
    assert server.lines == [b"CAPA"]
    await encrypt(client, ca)
    assert b"STLS" not in await client.fetch(b"CAPA")
    assert await client.ask(b"STLS") == b"-ERR not now\r\n"
    assert await client.ask(b"USER user") == b"+OK\r\n"
    assert await client.ask(b"PASS x") == b"+OK\r\n"
    assert CLEAN in await client.fetch(b"RETR 1")


async def test_what_stands_behind_stls_is_never_executed(
    start: Start, server: Pop3Server, pem: dict[str, Path]
) -> None:
    """The connection ends."""
    scene = await start(server, REPLACE + towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.line()
    client.send(b"STLS\r\nCAPA\r\n")
    assert b"TOP" not in await client.rest()
    assert server.lines == []
    await scene.settled()


async def test_implicit_tls(start: Start, server: Pop3Server, ca: trustme.CA, pem: dict[str, Path]) -> None:
    """Nothing is said in the clear."""
    scene = await start(server, REPLACE + towards_clients(pem, "implicit"))
    client = await scene.client(trusting(ca))
    await client.login()
    assert CLEAN in await client.fetch(b"RETR 1")
    plain = await scene.client()
    plain.send(b"CAPA\r\n" * 3)
    assert b"+OK" not in await plain.rest()


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_the_server_is_spoken_to_under_tls(
    start: Start, server: Pop3Server, ca: trustme.CA, pem: dict[str, Path], mode: str
) -> None:
    """And verified."""
    if mode == "starttls":
        server.tls = serving(ca)
        scene = await start(server, REPLACE + towards_server(pem, mode))
    else:
        server._server.close()
        scene = await start(await _under_tls(server, ca), REPLACE + towards_server(pem, mode))
    client = await scene.client()
    await client.login()
    assert CLEAN in await client.fetch(b"RETR 1")
    if mode == "starttls":
        assert server.lines[0] == b"STLS"


async def _under_tls(server: Pop3Server, ca: trustme.CA) -> Pop3Server:
    server._server = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=serving(ca))
    server.port = server._server.sockets[0].getsockname()[1]
    return server


@pytest.mark.parametrize("fault", ["refused", "wrong name", "injected", "unknown signer"])
async def test_there_is_no_falling_back(
    start: Start, server: Pop3Server, ca: trustme.CA, pem: dict[str, Path], fault: str
) -> None:
    """No password goes where TLS was asked for and is not there."""
    if fault == "refused":
        server.answers[b"STLS"] = b"-ERR no\r\n"
    elif fault == "injected":
        server.answers[b"STLS"] = b"+OK\r\n+OK logged in already\r\n"
    else:
        server.tls = serving(ca, "other.example.org") if fault == "wrong name" else serving(trustme.CA())
    scene = await start(server, REPLACE + towards_server(pem, "starttls"))
    client = await scene.client()
    client.send(b"USER user\r\nPASS marker-password\r\n")
    assert (await client.rest()).startswith(b"-ERR [SYS/TEMP] the server cannot be reached")
    assert server.lines == [b"STLS"]
    await wait_until(lambda: server.open == 0)
    await scene.settled()
