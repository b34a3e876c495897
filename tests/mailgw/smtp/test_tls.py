"""TLS on both sides, and what must not be believed before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.fakes.next_hop import NextHop
from tests.mailgw.certificates import serving, towards_clients, towards_server, trusting
from tests.mailgw.smtp.conftest import Client, Scene, Start

MAIL = b"Subject: x\r\n\r\nsecret\r\n"


async def encrypted(scene: Scene, ca: trustme.CA) -> Client:
    """A client behind STARTTLS."""
    client = await scene.client()
    await client.reply()
    assert b"STARTTLS\r\n" in await client.ask(b"EHLO me")
    assert (await client.ask(b"STARTTLS")).startswith(b"220")
    await client.start_tls(trusting(ca))
    return client


async def test_starttls_is_ours(start: Start, hop: NextHop, ca: trustme.CA, pem: dict[str, Path]) -> None:
    """The next hop never hears the word; behind it EHLO comes anew, and offers AUTH, which it held back before."""
    scene = await start(hop, gateway=towards_clients(pem, "starttls"))
    client = await encrypted(scene, ca)
    assert (await client.ask(b"MAIL FROM:<a@example.org>")).startswith(b"503 5.5.1")
    offered = await client.ask(b"EHLO me")
    assert b"STARTTLS" not in offered
    assert b"AUTH PLAIN" in offered
    assert (await client.ask(b"STARTTLS")).startswith(b"503")
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    assert (await client.mail(MAIL)).startswith(b"250 2.0.0 Ok")
    assert not [line for line in hop.lines if line.upper().startswith(b"STARTTLS")]
    assert [mail.wire for mail in hop.mails] == [MAIL]


async def test_logins_wait_for_tls(start: Start, hop: NextHop, pem: dict[str, Path]) -> None:
    """Where there is TLS to be had no login goes over the wire in the clear."""
    scene = await start(hop, gateway=towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.reply()
    assert b"AUTH" not in await client.ask(b"EHLO me")
    assert (await client.ask(b"AUTH PLAIN AHgAeA==")).startswith(b"530 5.7.0")
    assert not [line for line in hop.lines if line.startswith(b"AUTH")]


async def test_octets_behind_starttls_are_never_executed(start: Start, hop: NextHop, pem: dict[str, Path]) -> None:
    """In the same segment: the connection ends, nothing of them reaches the next hop."""
    scene = await start(hop, gateway=towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.reply()
    await client.ask(b"EHLO me")
    client.send(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
    assert await client.rest() == b""
    await scene.settled()
    assert not [line for line in hop.lines if line.startswith(b"MAIL")]


async def test_no_tls_is_no_session(start: Start, hop: NextHop, pem: dict[str, Path]) -> None:
    """A client that says STARTTLS and then something else is let go."""
    scene = await start(hop, gateway=towards_clients(pem, "starttls"))
    client = await scene.client()
    await client.reply()
    await client.ask(b"EHLO me")
    assert (await client.ask(b"STARTTLS")).startswith(b"220")
    client.send(b"EHLO in the clear\r\n")
    assert not (await client.rest()).startswith(b"250")
    await scene.settled()


async def test_implicit_tls_towards_clients(start: Start, hop: NextHop, ca: trustme.CA, pem: dict[str, Path]) -> None:
    """The greeting comes encrypted."""
    scene = await start(hop, gateway=towards_clients(pem, "implicit"))
    client = await scene.client(trusting(ca))
    await client.begin()
    assert (await client.mail(MAIL)).startswith(b"250")


async def test_starttls_towards_the_next_hop(start: Start, hop: NextHop, ca: trustme.CA, pem: dict[str, Path]) -> None:
    """Verified; the client's EHLO is the first thing said in secret."""
    hop.tls = serving(ca)
    hop.answers[b"EHLO"] = b"250-hop\r\n250 STARTTLS\r\n"
    client = await (await start(hop, gateway=towards_server(pem, "starttls"))).client()
    await client.begin()
    assert (await client.mail(MAIL)).startswith(b"250")
    assert [line.split(b" ")[0] for line in hop.lines][:4] == [b"EHLO", b"STARTTLS", b"EHLO", b"MAIL"]


@pytest.mark.parametrize("fault", ["not offered", "refused", "wrong name", "unknown ca", "injected"])
async def test_there_is_no_falling_back_to_plain(
    start: Start, hop: NextHop, ca: trustme.CA, pem: dict[str, Path], fault: str
) -> None:
    """Whatever goes wrong with TLS upstream: 421, and no mail."""
    hop.tls = serving(ca)
    hop.answers[b"EHLO"] = b"250-hop\r\n250 STARTTLS\r\n"
    match fault:
        case "not offered":
            del hop.answers[b"EHLO"]
        case "refused":
            hop.answers[b"STARTTLS"] = b"454 4.7.0 not now\r\n"
        case "wrong name":
            hop.tls = serving(ca, "other.example.org")
        case "unknown ca":
            hop.tls = serving(trustme.CA())
        case "injected":
            hop.answers[b"STARTTLS"] = b"220 go\r\n250 injected\r\n"
    client = await (await start(hop, gateway=towards_server(pem, "starttls"))).client()
    assert (await client.rest()).startswith(b"421")
    assert not [line for line in hop.lines if line.startswith(b"MAIL")]
