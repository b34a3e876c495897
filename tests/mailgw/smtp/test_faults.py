"""What goes wrong on either side, or on ours: nobody is told that a mail was taken that was not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inspection.quarantine import Quarantine
from inspection.spool import Spool
from mailgw.smtp.commands import read_forwarded_client
from scanners.specimens import EICAR
from tests.fakes.next_hop import NextHop
from tests.mailgw.scenes import wait_until
from tests.mailgw.smtp.conftest import CLEAN, Start

REPLACED = (
    "- {name: VIRUS, when: {virus-status: [found]}, action: accept, quarantine: true}\n"
    "- {name: ERROR, when: {virus-status: [error]}, action: defer}\n- {name: OK, action: accept}\n"
)
REPLACE = (
    "doc-acl:\n  - {name: DOC, when: {virus-status: [found]}, action: replace, replace: note.txt}\n"
    "  - {name: OK, action: accept}\n"
)


@pytest.mark.parametrize(("hops", "answer"), [(100, b"250"), (101, b"554 5.4.6")])
async def test_a_mail_that_goes_in_circles_is_refused(start: Start, hop: NextHop, hops: int, answer: bytes) -> None:
    """After a hundred fields Received; those in its body do not count."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    wire = b"Received: from a\r\n by b\r\n" * hops + CLEAN + b"Received: from c\r\n" * 50
    assert (await client.mail(wire)).startswith(answer)
    [record] = await scene.records(1)
    assert record["reason"] == (None if hops == 100 else "protocol")
    assert len(hop.mails) == (hops == 100)
    await client.ask(b"QUIT")
    await scene.settled()


@pytest.mark.parametrize(
    ("size", "answer", "action"),
    [(2001, b"552 5.3.4", "deny"), (1400, b"452 4.3.1", "defer")],
)
async def test_no_room_is_an_error(start: Start, hop: NextHop, size: int, answer: bytes, action: str) -> None:
    """Too large for good, or full for now; the record says `error`, the session goes on."""
    scene = await start(hop, top="spool: {max-object: 2000, max-total: 2500}\n")
    client, other = await scene.client(), await scene.client()
    await other.begin()
    assert (await other.ask(b"DATA")).startswith(b"354")
    other.send(b"y" * 1200)
    await wait_until(lambda: scene.gateway.site and scene.gateway.site.checkpoint.room.used >= 1190)
    await client.begin()
    assert (await client.mail(b"x" * size + b"\r\n")).startswith(answer)
    [record] = await scene.records(1)
    assert (record["status"], record["action"], record["reason"]) == ("error", action, "antivirus-error")
    assert (await client.ask(b"NOOP")).startswith(b"250")
    assert hop.mails == []
    await client.ask(b"QUIT")
    other.writer.transport.abort()
    await scene.settled()


@pytest.mark.parametrize("early", [b"250 2.0.0 queued\r\n", b"552 5.3.4 too large\r\n"])
async def test_an_answer_before_the_end_is_none_to_the_mail(start: Start, hop: NextHop, early: bytes) -> None:
    """A next hop's consent amid a mail is not believed; its refusal is handed on. It has no mail either way."""
    hop.answers[b"DATA"] = b"354 go on\r\n" + early
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    reply = await client.mail(CLEAN)
    assert reply.startswith(b"552 5.3.4" if early.startswith(b"5") else b"451 4.4.2")
    assert hop.mails == []
    await scene.settled()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_spool_that_cannot_be_read_leaves_no_mail(
    start: Start, hop: NextHop, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    """Of chunks not even QUIT is taken for the missing octets: the connection to the next hop breaks off."""
    scene = await start(hop, gateway="no-mail-scanning: true\n")
    wire = b"Subject: x\r\n\r\n" + b"z" * (256 * 1024 - 14) + b"12\r\n"
    whole = Spool.read

    def read(spool: Spool, offset: int, size: int) -> bytes:
        if offset:
            raise OSError("gone")
        return whole(spool, offset, size)

    monkeypatch.setattr(Spool, "read", read)
    client = await scene.client()
    await client.begin()
    if chunked:
        client.send(b"BDAT %d LAST\r\n" % len(wire) + wire)
    else:
        client.send(b"DATA\r\n" + wire + b".\r\n")
        assert (await client.reply()).startswith(b"354")
    assert (await client.reply()).startswith(b"421 4.3.0")
    assert hop.mails == []
    await scene.settled()


async def test_a_client_that_leaves_while_its_mail_is_kept_leaves_no_room_taken(
    start: Start, hop: NextHop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the changed form of the mail is given back."""
    keeping = asyncio.Event()

    async def keep(*given: object) -> str:
        keeping.set()
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Quarantine, "keep", keep)
    (tmp_path / "note.txt").write_text("gone\n")
    scene = await start(hop, mail_acl=REPLACED, gateway=REPLACE)
    client = await scene.client()
    await client.begin()
    await client.ask(b"DATA")
    client.send(CLEAN + EICAR + b"\r\n.\r\n")
    async with asyncio.timeout(10):
        await keeping.wait()
    client.writer.transport.abort()
    await scene.settled()
    assert hop.mails == []


async def test_an_engine_that_says_nothing_defers_within_its_time(start: Start, hop: NextHop) -> None:
    """One deadline for the whole mail, not one for each document: 451, nothing kept, nothing sent on."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = f'{{protocol: clamav-net, address: "127.0.0.1:{port}", timeout: 0.3, canary: off}}'
        scene = await start(hop, engine=engine)
        client = await scene.client()
        await client.begin()
        head = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
        parts = b"".join(b"--x\r\n\r\npart %d\r\n" % number for number in range(40))
        began = asyncio.get_running_loop().time()
        assert (await client.mail(head + parts + b"--x--\r\n")).startswith(b"451 4.7.1 not accepted: error, id ")
        assert asyncio.get_running_loop().time() - began < 2
        assert scene.kept() == []
        await client.ask(b"QUIT")
        await scene.settled()
    assert hop.mails == []


def test_an_unknown_client_is_not_the_one_before() -> None:
    """XFORWARD's [UNAVAILABLE] takes away what was known; without ADDR it stays."""
    assert read_forwarded_client(b"NAME=a ADDR=192.0.2.1", None) == "192.0.2.1"
    assert read_forwarded_client(b"NAME=a", "192.0.2.1") == "192.0.2.1"
    assert read_forwarded_client(b"ADDR=[UNAVAILABLE]", "192.0.2.1") is None
