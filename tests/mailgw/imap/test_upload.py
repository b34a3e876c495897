"""Mails that clients store: checked before the server hears of them."""

from __future__ import annotations

import pytest

from scanners.specimens import EICAR
from tests.fakes.imap_server import ImapServer
from tests.mailgw.imap.conftest import CLEAN, DENY, INFECTED, Client, Start


async def append(client: Client, *mails: bytes, plus: bytes = b"+", words: bytes = b"") -> bytes:
    """APPEND of some mails; everything up to the tagged line."""
    client.send(b"z APPEND INBOX")
    for mail in mails:
        client.send(words + b" {%d%s}\r\n" % (len(mail), plus))
        if not plus:
            assert await client.line() == b"+ go ahead\r\n"
        client.send(mail)
    client.send(b"\r\n")
    return await client.until(b"z ")


@pytest.mark.parametrize("plus", [b"", b"+", b"-"])
async def test_a_clean_mail_is_stored_octet_for_octet(start: Start, server: ImapServer, plus: bytes) -> None:
    """With flags and date, whichever way the literal comes."""
    scene = await start(server)
    client = await scene.reader()
    mail = CLEAN + bytes(range(1, 256)) + b"\r\n"
    words = b' (\\Seen $x) "01-Jan-2024 10:00:00 +0000"'
    assert await append(client, mail, plus=plus, words=words) == b"z OK done\r\n"
    assert server.appended == [mail]
    assert server.lines[-1] == b"z APPEND INBOX" + words + b" <literal>"
    record = (await scene.records(1))[0]
    assert (record["direction"], record["status"], record["action"]) == ("upload", "free", "accept")


async def test_an_infected_mail_is_stored_covered(start: Start, server: ImapServer) -> None:
    """Of the size that was announced."""
    scene = await start(server)
    assert await append(await scene.reader(), INFECTED) == b"z OK done\r\n"
    assert [len(mail) for mail in server.appended] == [len(INFECTED)]
    assert EICAR not in server.appended[0]
    assert b"REMOVED" in server.appended[0]


async def test_a_denied_mail_is_not_heard_of(start: Start, server: ImapServer) -> None:
    """Nor any other of the same command; the refusal has the record's id."""
    scene = await start(server, acls=DENY)
    said = await append(await scene.reader(), CLEAN, INFECTED, CLEAN)
    record = next(r for r in await scene.records(2) if r["status"] == "found")
    assert said.startswith(b"z NO not accepted: found")
    assert record["id"].encode() in said
    assert not server.appended
    assert not [line for line in server.lines if b"APPEND" in line]


async def test_several_mails_are_stored_by_one_command(start: Start, server: ImapServer) -> None:
    """All of them checked."""
    scene = await start(server)
    assert await append(await scene.reader(), CLEAN, CLEAN + b"more\r\n") == b"z OK done\r\n"
    assert server.appended == [CLEAN, CLEAN + b"more\r\n"]
    assert len(await scene.records(2)) == 2


async def test_what_cannot_be_checked_is_not_stored(start: Start, server: ImapServer) -> None:
    """NO [UNAVAILABLE]."""
    scene = await start(server, engine="{protocol: clamav-net, address: '127.0.0.1:1', timeout: 1s}")
    assert (await append(await scene.reader(), CLEAN)).startswith(b"z NO [UNAVAILABLE]")
    assert not server.appended


async def test_a_mail_that_is_too_large_is_refused_before_it_comes(start: Start, server: ImapServer) -> None:
    """Where the client waits; else it is read to its end, and the session goes on."""
    scene = await start(server, top="spool: {max-object: 100KiB}\n")
    client = await scene.reader()
    client.send(b"z APPEND INBOX {200000}\r\n")
    assert (await client.line()).startswith(b"z NO [TOOBIG]")
    assert (await append(client, b"x" * 110_000)).startswith(b"z NO [TOOBIG]")
    assert await append(client, CLEAN) == b"z OK done\r\n"
    assert server.appended == [CLEAN]


async def test_a_refusal_of_the_server_is_the_client_s(start: Start, server: ImapServer) -> None:
    """Instead of a go-ahead, too."""
    client = await (await start(server)).reader()
    server.answers[b"APPEND"] = b"TAG NO [TRYCREATE] no such mailbox\r\n"
    assert await append(client, CLEAN) == b"z NO [TRYCREATE] no such mailbox\r\n"


async def test_half_a_mail_is_none(start: Start, server: ImapServer) -> None:
    """The client leaves amid its literal: nothing is stored, nothing left over."""
    scene = await start(server)
    client = await scene.reader()
    client.send(b"z APPEND INBOX {100000+}\r\nhalf")
    client.writer.write_eof()
    await client.rest()
    await scene.settled()
    assert not server.appended
