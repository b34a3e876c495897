"""Who goes, and when: clients, next hops, and the gateway itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.next_hop import CUT, NextHop
from tests.mailgw.scenes import wait_until
from tests.mailgw.smtp.conftest import CLEAN, Start


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        (b"GREETING", b"421"),
        (b"EHLO", b"421"),
        (b"MAIL", b"421"),
        (b"RCPT", b"421"),
        (b"DATA", b"451"),
        (b".", b"451"),
    ],
)
async def test_a_next_hop_that_dies_is_never_a_250(start: Start, hop: NextHop, phase: bytes, answer: bytes) -> None:
    """421 before the mail, 451 within it, and the session ends."""
    hop.answers[phase] = CUT
    scene = await start(hop)
    client = await scene.client()
    client.send(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + CLEAN + b".\r\n")
    answers = (await client.rest()).split(b"\r\n")
    assert answer in [line[:3] for line in answers]
    assert not any(line.startswith(b"250 2.0.0") for line in answers)
    assert hop.mails == [] or phase == b"."
    await scene.settled()


@pytest.mark.parametrize("farewell", [b"421 4.3.2 bye\r\n", CUT])
async def test_a_next_hop_that_leaves_an_idle_session_takes_it_along(
    start: Start, hop: NextHop, farewell: bytes
) -> None:
    """The client is told 421 at once, without having asked."""
    client = await (await start(hop)).client()
    await client.reply()
    await client.ask(b"EHLO me")
    hop.say(farewell)
    hop.drop()
    assert (await client.rest()).startswith(b"421")


async def test_an_answer_that_nobody_asked_for_is_not_believed(start: Start, hop: NextHop) -> None:
    """Lines behind a reply would be taken for the next one: the session ends instead."""
    hop.answers[b"RCPT"] = b"250 ok\r\n354 go on\r\n250 2.0.0 done\r\n"
    client = await (await start(hop)).client()
    await client.begin()
    answers = await client.rest()
    assert answers.startswith(b"421")
    assert hop.mails == []


@pytest.mark.parametrize("sent", [b"", b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"half a li"])
async def test_a_client_that_leaves_takes_the_next_hop_along(start: Start, hop: NextHop, sent: bytes) -> None:
    """QUIT, and the connection is closed."""
    scene = await start(hop)
    client = await scene.client()
    await client.reply()
    client.send(sent)
    client.writer.close()
    await scene.settled()
    await wait_until(lambda: hop.open == 0)
    assert hop.mails == []
    assert hop.lines[-1] == b"QUIT"


async def test_a_client_that_leaves_amid_its_mail_delivers_nothing(start: Start, hop: NextHop) -> None:
    """The spool is given back, and the next hop never heard DATA."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    await client.ask(b"DATA")
    client.send(b"Subject: half")
    client.writer.close()
    await scene.settled()
    assert b"DATA" not in hop.lines


async def test_a_client_that_leaves_during_the_check_delivers_nothing(
    start: Start, hop: NextHop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is ended, the record says client-gone, the next hop never heard DATA."""
    checking, ended = asyncio.Event(), asyncio.Event()

    async def check_for_ever(*given: object, **named: object) -> None:
        checking.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("mailgw.smtp.mail.inspect_mail", check_for_ever)
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    await client.ask(b"DATA")
    client.send(CLEAN + b".\r\n")
    await checking.wait()
    client.writer.close()
    async with asyncio.timeout(5):
        await ended.wait()
    await scene.settled()
    assert b"DATA" not in hop.lines
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("cut", "client-gone")


async def test_a_client_that_has_said_quit_may_close_its_side(start: Start, hop: NextHop) -> None:
    """Everything in one go, then the end: it still hears every answer."""
    client = await (await start(hop)).client()
    client.send(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + CLEAN + b".\r\nQUIT\r\n")
    client.writer.write_eof()
    answers = await client.rest()
    assert b"250 2.0.0 Ok: queued as A1B2\r\n221 2.0.0 Bye\r\n" in answers
    assert len(hop.mails) == 1


async def test_the_second_server_is_asked_where_the_first_is_not_there(start: Start, hop: NextHop) -> None:
    """In the policy's order."""
    async with NextHop(answers={b"GREETING": b"421 4.3.2 not now\r\n"}) as busy:
        scene = await start(busy, hop, servers=f"[127.0.0.1:1, 127.0.0.1:{busy.port}, 127.0.0.1:{hop.port}]")
        client = await scene.client()
        await client.begin()
        assert (await client.mail(CLEAN)).startswith(b"250")
        assert (busy.sessions, len(hop.mails)) == (1, 1)


async def test_no_server_at_all(start: Start) -> None:
    """421; a refusal that one of them gave is passed on."""
    client = await (await start(servers="127.0.0.1:1")).client()
    assert (await client.rest()).startswith(b"421 4.4.1")
    async with NextHop(answers={b"GREETING": b"554 5.7.1 not you\r\n"}) as rude:
        client = await (await start(rude)).client()
        assert await client.rest() == b"554 5.7.1 not you\r\n"


async def test_connections_are_counted(start: Start, hop: NextHop) -> None:
    """One too many hears 421 and costs no connection to the next hop; a place is free again when one leaves."""
    scene = await start(hop, gateway="limits: {connections: 5, per-client: 1}\n")
    first = await scene.client()
    await first.reply()
    second = await scene.client()
    assert (await second.rest()).startswith(b"421 4.7.0")
    assert hop.sessions == 1
    await first.ask(b"QUIT")
    await scene.settled()
    third = await scene.client()
    assert (await third.reply()).startswith(b"220")


async def test_the_session_acl_keeps_clients_out(start: Start, hop: NextHop) -> None:
    """554 with an id, recorded, no connection to the next hop."""
    acl = "session-acl: [{name: NOBODY, when: {client: [127.0.0.0/8]}, action: deny}]\n"
    scene = await start(hop, gateway=acl)
    client = await scene.client()
    answer = await client.rest()
    [record] = await scene.records(1)
    assert answer == b"554 5.7.1 not permitted, id " + record["id"].encode() + b"\r\n"
    assert (record["acl"], record["action"], hop.sessions) == ("NOBODY", "deny", 0)


async def test_a_silent_client_is_told_and_let_go(start: Start, hop: NextHop) -> None:
    """Idle before a command, stalled within a mail: 421 and the end."""
    scene = await start(hop, gateway="limits: {idle: 200ms, stall: 100ms}\n")
    idle = await scene.client()
    await idle.reply()
    assert (await idle.rest()).startswith(b"421 4.4.2")
    stalled = await scene.client()
    await stalled.begin()
    await stalled.ask(b"DATA")
    assert (await stalled.rest()).startswith(b"421 4.4.2")
    assert hop.mails == []
    await scene.settled()


async def test_a_drain_ends_idle_sessions_and_lets_mails_finish(start: Start, hop: NextHop) -> None:
    """The idle hear 421; a mail under way is delivered, its session ends behind it; nobody new is let in."""
    scene = await start(hop)
    idle, busy = await scene.client(), await scene.client()
    await idle.reply()
    await busy.begin()
    await busy.ask(b"DATA")
    draining = asyncio.get_running_loop().create_task(scene.gateway.drain(10))
    assert (await idle.rest()).startswith(b"421 4.3.2")
    answer = await busy.ask(CLEAN + b".")
    assert answer.startswith(b"250 2.0.0")
    assert (await busy.rest()).startswith(b"421 4.3.2")
    await draining
    assert len(hop.mails) == 1


async def test_a_drain_cuts_what_takes_too_long(start: Start, hop: NextHop) -> None:
    """A mail that is not there in time is not delivered."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    await client.ask(b"DATA")
    await scene.gateway.drain(0.05)
    assert await client.rest() == b""
    assert hop.mails == []
