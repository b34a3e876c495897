"""Contents that clients fetch: checked first, covered, left out, or refused."""

from __future__ import annotations

import asyncio

import pytest

from mailgw.imap import judge, relay
from mailgw.inspect_mail import inspect_mail
from scanners.specimens import EICAR
from tests.fakes.imap_server import ImapServer
from tests.mailgw.imap.conftest import CLEAN, DENY, INFECTED, Start, body_of
from tests.mailgw.scenes import wait_until


async def test_an_infected_mail_is_covered_and_others_come_as_they_are(start: Start, server: ImapServer) -> None:
    """Same length, a notice in it, one record each, the original in the quarantine."""
    scene = await start(server)
    client = await scene.reader()
    said = await client.ask(b"FETCH 1:3 BODY[]")
    assert said.endswith(b"OK done\r\n")
    assert (body_of(said, 1), body_of(said, 3)) == (CLEAN, server.mails[3])
    assert EICAR not in said
    assert len(body_of(said, 2)) == len(INFECTED)
    assert b"REMOVED Eicar-Test-Signature" in body_of(said, 2)
    records = await scene.records(3)
    assert sorted((r["status"], r["action"]) for r in records) == [
        ("found", "replace"),
        ("free", "accept"),
        ("free", "accept"),
    ]
    assert {r["direction"] for r in records} == {"download"}
    assert {r["user"] for r in records} == {"bob"}
    assert [file.read_bytes() for file in scene.kept()] == [INFECTED]


async def test_the_client_s_own_command_reaches_the_server(start: Start, server: ImapServer) -> None:
    """As it is, behind questions that set no flag."""
    client = await (await start(server)).reader()
    await client.ask(b"uid  FETCH 1 BODY[]")
    await client.ask(b"UID FETCH 10,20 (FLAGS BODY[])")
    asked = [line.split(b" ", 1)[1] for line in server.lines if b"FETCH" in line]
    assert asked == [
        b"UID FETCH 10,20 (UID RFC822.SIZE)",
        b"UID FETCH 10 (UID BODY.PEEK[])",
        b"UID FETCH 20 (UID BODY.PEEK[])",
        b"UID FETCH 10,20 (FLAGS BODY[])",
    ]


async def test_a_verdict_is_remembered_across_sessions(start: Start, server: ImapServer) -> None:
    """Of a clean mail; an infected one is at hand as long as its session."""
    scene = await start(server)
    client = await scene.reader()
    await client.ask(b"FETCH 1:3 BODY[]")
    assert server.bodies == 6
    await client.ask(b"FETCH 1:3 BODY[]")
    assert server.bodies == 9
    client = await scene.reader()
    await client.ask(b"FETCH 1:3 BODY[]")
    assert server.bodies == 13
    assert len(await scene.records(4)) == 4
    assert len(scene.kept()) == 1


async def test_another_uidvalidity_is_another_mailbox(start: Start, server: ImapServer) -> None:
    """What was checked under the old one is checked again."""
    scene = await start(server)
    client = await scene.reader()
    await client.ask(b"FETCH 1 BODY[]")
    server.answers[b"SELECT"] = b"* OK [UIDVALIDITY 8] new\r\nTAG OK done\r\n"
    await client.ask(b"SELECT INBOX")
    await client.ask(b"FETCH 1 BODY[]")
    assert server.bodies == 4


async def test_a_denied_mail_is_left_out_and_the_others_are_answered(start: Start, server: ImapServer) -> None:
    """NO, naming status, virus, rule, engine and id."""
    scene = await start(server, acls=DENY)
    client = await scene.reader()
    said = await client.ask(b"FETCH 1:3 BODY[]")
    assert (body_of(said, 1), body_of(said, 3)) == (CLEAN, server.mails[3])
    assert b"* 2 FETCH" not in said
    record = next(r for r in await scene.records(3) if r["status"] == "found")
    last = said.splitlines()[-1].decode()
    assert last == f"NO not accepted: found (Eicar-Test-Signature), rule VIRUS, antivirus AV, id {record['id']}"
    assert scene.kept()[0].name == f"{record['id']}.data"


async def test_where_all_are_denied_the_server_does_not_hear_of_it(start: Start, server: ImapServer) -> None:
    """So that nothing is marked as seen that was not."""
    client = await (await start(server, acls=DENY)).reader()
    assert (await client.ask(b"FETCH 2 BODY[]")).startswith(b"NO not accepted: found")
    assert not [line for line in server.lines if line.endswith(b"FETCH 2 BODY[]")]


async def test_what_cannot_be_checked_is_to_be_asked_for_again(start: Start, server: ImapServer) -> None:
    """The engine is down: NO [UNAVAILABLE]; flags and headers still come; nothing is remembered."""
    scene = await start(server, engine="{protocol: clamav-net, address: '127.0.0.1:1', timeout: 1s}")
    client = await scene.reader()
    assert (await client.ask(b"FETCH 1 BODY[]")).startswith(b"NO [UNAVAILABLE] not accepted: error, rule ERROR")
    assert (await client.ask(b"FETCH 1 (UID RFC822.SIZE)")).endswith(b"OK done\r\n")
    assert (await client.ask(b"FETCH 1 BODY[]")).startswith(b"NO [UNAVAILABLE]")
    assert server.bodies == 2
    assert not scene.kept()


async def test_a_mail_that_changes_behind_its_check_is_left_out(start: Start, server: ImapServer) -> None:
    """Clean the first time, infected the second: it does not come, and is to be asked for again."""
    server.change = lambda mail, times: mail if times == 0 else INFECTED
    client = await (await start(server)).reader()
    said = await client.ask(b"FETCH 1 BODY[]")
    assert EICAR not in said
    assert said.splitlines()[-1].startswith(b"NO [UNAVAILABLE]")


async def test_contents_that_nobody_asked_for_do_not_pass(start: Start, server: ImapServer) -> None:
    """Amid another command, and when none is under way; the flags of another mail do."""
    client = await (await start(server)).reader()
    virus = b"* 2 FETCH (BODY[TEXT] {68}\r\n" + EICAR + b")\r\n* 1 FETCH (FLAGS (\\Seen))\r\n"
    server.answers[b"NOOP"] = virus + b"TAG OK done\r\n"
    assert await client.ask(b"NOOP") == b"* 1 FETCH (FLAGS (\\Seen))\r\nOK done\r\n"
    server.say(virus)
    assert await client.line() == b"* 1 FETCH (FLAGS (\\Seen))\r\n"


async def test_other_mails_contents_amid_a_fetch_do_not_pass(start: Start, server: ImapServer) -> None:
    """An answer about a mail that was not of the set, or without a number that we know."""
    client = await (await start(server)).reader()
    await client.ask(b"FETCH 1 BODY[]")
    said = b"* 2 FETCH (BODY[] {68}\r\n" + EICAR + b")\r\nTAG OK done\r\n"
    server.answers[b"FETCH"] = [b"* 1 FETCH (UID 10 RFC822.SIZE %d)\r\nTAG OK\r\n" % len(CLEAN), said]
    assert (await client.ask(b"FETCH 1 BODY[]")).startswith(b"NO [UNAVAILABLE]")


async def test_mails_that_go_meanwhile_shift_no_verdict(start: Start, server: ImapServer) -> None:
    """EXPUNGE amid UID FETCH: the infected mail is covered by its UID; an answer that tells none is left out."""
    client = await (await start(server)).reader()
    await client.ask(b"UID FETCH 10,20 BODY[]")
    sizes = b"* 1 FETCH (UID 10 RFC822.SIZE %d)\r\n* 2 FETCH (UID 20 RFC822.SIZE %d)\r\n" % (len(CLEAN), len(INFECTED))
    late = b"* 1 EXPUNGE\r\n* 1 FETCH (BODY[] {%d}\r\n%s UID 20)\r\n* 1 FETCH (BODY[] {%d}\r\n%s)\r\nTAG OK done\r\n"
    server.answers[b"UID FETCH"] = [
        sizes + b"TAG OK\r\n",
        late % (len(INFECTED), INFECTED, len(INFECTED), INFECTED),
    ]
    said = await client.ask(b"UID FETCH 10,20 BODY[]")
    assert said.count(b"REMOVED") == 1
    assert EICAR not in said
    assert said.startswith(b"* 1 EXPUNGE\r\n")
    assert said.splitlines()[-1].startswith(b"NO [UNAVAILABLE]")


async def test_a_set_that_the_server_refuses_is_refused_in_its_words(start: Start, server: ImapServer) -> None:
    """With the client's tag."""
    client = await (await start(server)).reader()
    server.answers[b"FETCH"] = b"TAG BAD no such set\r\n"
    assert await client.ask(b"FETCH 99 BODY[]") == b"BAD no such set\r\n"


async def test_what_the_server_tells_besides_is_the_client_s(start: Start, server: ImapServer) -> None:
    """Flags, MODSEQ and EXISTS amid our own questions."""
    client = await (await start(server)).reader()
    await client.ask(b"FETCH 1 BODY[]")
    answer = b"* 4 EXISTS\r\n* 1 FETCH (UID 10 RFC822.SIZE %d FLAGS (\\Seen) MODSEQ (9))\r\nTAG OK\r\n" % len(CLEAN)
    server.answers[b"FETCH"] = [answer, answer]
    said = await client.ask(b"FETCH 1 BODY[]")
    assert said.startswith(b"* 4 EXISTS\r\n* 1 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (9))\r\n")
    assert body_of(said, 1) == CLEAN


async def test_a_client_that_waits_hears_that_we_are_alive(
    start: Start, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the answer, and the answer is whole."""
    heard = asyncio.Event()
    slow = inspect_mail

    async def inspect(*args, **options):
        await heard.wait()
        return await slow(*args, **options)

    monkeypatch.setattr(judge, "inspect_mail", inspect)
    monkeypatch.setattr(relay, "ALIVE_EVERY", 0.02)
    client = await (await start(server)).reader()
    client.send(b"a FETCH 1 BODY[]\r\n")
    assert [await client.line() for _ in range(2)] == [b"* OK still checking\r\n"] * 2
    heard.set()
    assert body_of(await client.until(b"a "), 1) == CLEAN


async def test_a_check_ends_when_its_client_leaves(
    start: Start, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left over."""
    begun, never = asyncio.Event(), asyncio.Event()

    async def inspect(*args, **options):
        begun.set()
        await never.wait()

    monkeypatch.setattr(judge, "inspect_mail", inspect)
    scene = await start(server)
    client = await scene.reader()
    client.send(b"a FETCH 1:3 BODY[]\r\n")
    await begun.wait()
    client.writer.transport.abort()
    await scene.settled()
    await wait_until(lambda: server.open == 0)


async def test_a_check_that_never_began_leaves_nothing(
    start: Start, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes between a mail's arrival and its check."""
    begun = 0

    async def inspect(*args, **options):
        nonlocal begun
        begun += 1

    monkeypatch.setattr(judge, "inspect_mail", inspect)
    scene = await start(server)
    client = await scene.reader()
    sizes = b"".join(b"* %d FETCH (UID %d0 RFC822.SIZE 3)\r\n" % (n, n) for n in (1, 2))
    whole = b"* 1 FETCH (UID 10 BODY[] {3}\r\nabc)\r\nTAG OK\r\n"
    server.answers[b"FETCH"] = [sizes + b"TAG OK\r\n", whole + b"nonsense OK\r\n"]
    client.send(b"a FETCH 1:2 BODY[]\r\n")
    assert (await client.rest()).endswith(b"* BYE the mail server cannot be reached, try again later\r\n")
    await scene.settled()
    assert begun <= 1


async def test_a_mail_larger_than_the_spool_is_left_out(start: Start, server: ImapServer) -> None:
    """It can be asked for, its neighbours come, its octets are dropped as they come."""
    server.mails[2] = b"Subject: x\r\n\r\n" + b"x" * 200_000
    client = await (await start(server, top="spool: {max-object: 100KiB}\n")).reader()
    said = await client.ask(b"FETCH 1:3 BODY[]")
    assert (body_of(said, 1), body_of(said, 3)) == (CLEAN, server.mails[3])
    assert b"* 2 FETCH" not in said
    assert said.splitlines()[-1].startswith(b"NO [UNAVAILABLE]")


async def test_a_large_clean_mail_comes_octet_for_octet(start: Start, server: ImapServer) -> None:
    """By way of the spool's files."""
    server.mails[1] = b"Subject: x\r\n\r\n" + (b"0123456789" * 90 + b"\r\n") * 4000
    scene = await start(server)
    client = await scene.reader()
    said = await client.ask(b"FETCH 1 BODY[]")
    assert body_of(said, 1) == server.mails[1]
    client.send(b"z LOGOUT\r\n")
    await client.rest()
    await scene.settled()
