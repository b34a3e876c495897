"""Whole conversations: a client, the gateway, a server."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest

from tests.fakes.pop3_server import CUT, Pop3Server
from tests.mailgw.pop3.conftest import CLEAN, DENY, DOTS, INFECTED, REPLACE, Start
from tests.mailgw.scenes import wait_until

WHOLE = (
    b"CAPA\r\nUSER user\r\nPASS secret\r\nSTAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 1\r\nRETR 1\r\nTOP 1 0\r\nTOP 3 2\r\n"
    b"RETR 3\r\nRETR 9\r\nDELE 1\r\nNOOP\r\nRSET\r\nWHAT\r\nQUIT\r\n"
)


async def test_a_clean_mail_comes_octet_for_octet(start: Start, server: Pop3Server) -> None:
    """Status line and dots as the server sent them; one record is written."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    assert await client.fetch(b"RETR 1") == b"+OK %d octets\r\n" % len(CLEAN) + CLEAN + b".\r\n"
    assert await client.fetch(b"RETR 3") == (
        b"+OK %d octets\r\nSubject: dots\r\n..X: y\r\n\r\n..\r\n...\r\n....a\r\n\r\n..\r\n.\r\n" % len(DOTS)
    )
    records = await scene.records(2)
    assert (records[0]["event"], records[0]["status"], records[0]["action"]) == ("mail", "free", "accept")
    assert (records[0]["user"], records[0]["object"]) == ("user", "<1@example.org>")
    assert (records[0]["direction"], records[0]["size"], records[0]["released"]) == ("download", len(CLEAN), 0)


async def test_an_infected_document_is_covered(start: Start, server: Pop3Server) -> None:
    """As many octets, the sibling as it was, the replacement's text in base64; the record says `replace`."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    status, _, wire = (await client.fetch(b"RETR 2")).partition(b"\r\n")
    assert status == b"+OK %d octets" % len(INFECTED)
    at = INFECTED.index(b"WDVP")
    notice = b"a.com was found: Eicar-Test-Signature."
    assert wire[:at] == INFECTED[:at]
    assert wire[at:] == b64encode(notice.ljust(68)) + INFECTED[at + 92 :] + b".\r\n"
    [record] = await scene.records(1)
    assert (record["status"], record["action"], record["acl"]) == ("found", "replace", "MAILOK")
    assert [document["action"] for document in record["documents"]] == ["accept", "replace"]


async def test_a_session_in_one_segment_is_answered_in_order(start: Start, server: Pop3Server) -> None:
    """The same, octet for octet, as one that came an octet at a time."""
    scene = await start(server)
    answers = []
    for size in (len(WHOLE), 1, 7):
        client = await scene.client()
        for at in range(0, len(WHOLE), size):
            client.send(WHOLE[at : at + size])
            await asyncio.sleep(0)
        answers.append(await client.rest())
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == (
        b"+OK ready <1.2@fake>\r\n+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN\r\nPIPELINING\r\n.\r\n+OK\r\n+OK\r\n"
        b"+OK 3 %d\r\n+OK\r\n1 %d\r\n2 %d\r\n3 %d\r\n.\r\n+OK 2 %d\r\n"
        % (len(CLEAN + INFECTED + DOTS), len(CLEAN), len(INFECTED), len(DOTS), len(INFECTED))
        + b"+OK\r\n1 uid-0\r\n2 uid-1\r\n3 uid-2\r\n.\r\n+OK 1 uid-0\r\n"
        + b"+OK %d octets\r\n" % len(CLEAN)
        + CLEAN
        + b".\r\n+OK\r\n"
        + CLEAN.removesuffix(b"hello\r\n")
        + b".\r\n+OK\r\nSubject: dots\r\n..X: y\r\n\r\n..\r\n...\r\n.\r\n"
        + b"+OK %d octets\r\n" % len(DOTS)
        + b"Subject: dots\r\n..X: y\r\n\r\n..\r\n...\r\n....a\r\n\r\n..\r\n.\r\n"
        + b"-ERR no such message\r\n+OK\r\n+OK\r\n+OK\r\n-ERR unknown command\r\n+OK\r\n"
    )
    await scene.settled()


async def test_top_leaves_a_copy_for_the_retr_behind_it(start: Start, server: Pop3Server) -> None:
    """The server is asked once, and one record is written; behind a DELE the copy counts no more."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    await client.fetch(b"TOP 2 3")
    covered = await client.fetch(b"RETR 2")
    assert server.lines.count(b"RETR 2") == 1
    assert b"WDVP" not in covered
    await client.fetch(b"TOP 1 3")
    assert await client.ask(b"DELE 1") == b"+OK\r\n"
    await client.fetch(b"RETR 1")
    assert server.lines.count(b"RETR 1") == 2
    await scene.records(3)


async def test_top_is_no_way_around_the_check(start: Start, server: Pop3Server) -> None:
    """Of more lines than there are it is a RETR; in all of them the document is covered."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    for lines in (0, 1, 8, 9, 999999):
        assert b"WDVP" not in await client.fetch(b"TOP 2 %d" % lines)


async def test_a_denied_mail_is_refused_with_rule_engine_status_and_id(start: Start, server: Pop3Server) -> None:
    """The session goes on, the mail can be deleted; the quarantine has one entry, however often it is asked for."""
    scene = await start(server, DENY)
    client = await scene.client()
    await client.login()
    reply = await client.ask(b"RETR 2")
    [record] = await scene.records(1)
    mail_id = record["id"].encode()
    assert reply == b"-ERR not accepted: found Eicar-Test-Signature (VIRUS, AV), id " + mail_id + b"\r\n"
    assert (record["action"], record["acl"], record["quarantine"]) == ("deny", "VIRUS", record["id"])
    assert await client.ask(b"DELE 2") == b"+OK\r\n"
    again = await client.ask(b"TOP 2 0")
    assert again == reply
    assert server.lines.count(b"RETR 2") == 1
    other = await scene.client()
    await other.login()
    assert await other.ask(b"RETR 2") == reply
    assert server.lines.count(b"RETR 2") == 1
    third = await scene.client()
    await third.login(b"somebody")
    assert (await third.ask(b"RETR 2")).startswith(b"-ERR not accepted: found")
    assert server.lines.count(b"RETR 2") == 2
    assert len(scene.kept()) == 2
    assert scene.kept()[0].read_bytes() == INFECTED
    assert [r["action"] for r in await scene.records(4)] == ["deny"] * 4


async def test_one_entry_for_a_content_of_an_account(start: Start, server: Pop3Server) -> None:
    """Fetched twice, kept once, and the replacement's text is the same, octet for octet."""
    scene = await start(server, REPLACE.replace("action: accept}\ndoc", "action: accept, quarantine: true}\ndoc"))
    (scene.directory / "notice.txt").write_text("see {id}")
    client = await scene.client()
    await client.login()
    first = await client.fetch(b"RETR 2")
    assert await client.fetch(b"RETR 2") == first
    [kept] = scene.kept()
    assert b64encode(b"see " + kept.stem.encode()[:17]) in first
    assert [r["quarantine"] for r in await scene.records(2)] == [kept.stem] * 2


async def test_an_engine_that_is_down_is_temporary(start: Start, server: Pop3Server) -> None:
    """-ERR [SYS/TEMP], nothing of the mail, and the session goes on."""
    scene = await start(server, engine="{protocol: clamav-net, address: 127.0.0.1:1, timeout: 1s}")
    client = await scene.client()
    await client.login()
    reply = await client.ask(b"RETR 1")
    assert reply.startswith(b"-ERR [SYS/TEMP] not accepted: error")
    assert (await client.ask(b"STAT")).startswith(b"+OK 3")
    [record] = await scene.records(1)
    assert (record["action"], record["status"], record["reason"]) == ("defer", "error", "antivirus-error")
    assert record["id"].encode() in reply


async def test_a_mail_that_has_no_room_is_temporary(start: Start, server: Pop3Server) -> None:
    """It is read to its end, so that the next command finds its own answer."""
    server.mails.append(b"Subject: large\r\n\r\n" + b"x" * 1500 + b"\r\n")
    scene = await start(server, top="spool: {max-object: 1024}\n")
    client = await scene.client()
    await client.login()
    assert (await client.ask(b"RETR 4")).startswith(b"-ERR [SYS/TEMP] ")
    assert (await client.fetch(b"RETR 1")).endswith(CLEAN + b".\r\n")
    assert [r["status"] for r in await scene.records(2)] == ["error", "free"]


async def test_a_command_acl_is_chosen_by_who_logs_in(start: Start, server: Pop3Server) -> None:
    """One account is not scanned, and recorded so; one is; nobody else gets in."""
    acls = (
        "command-acl:\n  - {name: TRUSTED, when: {user: [boss]}, no-mail-scanning: true}\n"
        "  - {name: SOME, when: {user: ['u*']}, use-antivirus: [AV]}\n"
    )
    scene = await start(server, acls + REPLACE.split("\n", 1)[1])
    client = await scene.client()
    await client.login(b"boss")
    assert INFECTED in await client.fetch(b"RETR 2")
    client = await scene.client()
    await client.login(b"user")
    assert INFECTED not in await client.fetch(b"RETR 2")
    client = await scene.client()
    assert await client.line()
    assert (await client.ask(b"USER eve")).startswith(b"+OK")
    assert (await client.ask(b"PASS x")).startswith(b"-ERR not permitted: no command-acl matches, id ")
    assert await client.rest() == b""
    records = await scene.records(3)
    assert [r.get("status") for r in records] == [None, "found", None]
    assert (records[2]["reason"], records[2]["user"]) == ("no-acl", "eve")


@pytest.mark.parametrize(
    ("line", "user"),
    [
        (b"APOP ann 0123456789abcdef0123456789abcdef", "ann"),
        (b"AUTH PLAIN " + b64encode(b"\0ann\0marker-password"), "ann"),
        (b"AUTH PLAIN " + b64encode(b"box\0ann\0marker-password"), "box"),
        (b"auth xoauth2 " + b64encode(b"user=ann\x01auth=Bearer marker-password\x01\x01"), "ann"),
    ],
)
async def test_logins_in_one_line_pass(start: Start, server: Pop3Server, line: bytes, user: str) -> None:
    """The server gets what the client said; the record has the name."""
    scene = await start(server)
    client = await scene.client()
    await client.line()
    assert await client.ask(line) == b"+OK\r\n"
    assert server.lines[-1].upper() == line.upper()
    await client.fetch(b"RETR 1")
    [record] = await scene.records(1)
    assert record["user"] == user


async def test_challenges_and_their_answers_pass(start: Start, server: Pop3Server) -> None:
    """LOGIN's two; a response that is none cancels, as `*` does."""
    server.answers = {
        b"AUTH": b"+ VXNlcm5hbWU6\r\n",
        b64encode(b"ann"): b"+ UGFzc3dvcmQ6\r\n",
        b64encode(b"pw"): b"+OK in\r\n",
        b"*": b"-ERR cancelled\r\n",
    }
    scene = await start(server)
    client = await scene.client()
    await client.line()
    for wrong in (b"*", b"not base64!"):
        assert await client.ask(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6\r\n"
        assert await client.ask(wrong) == b"-ERR cancelled\r\n"
    assert await client.ask(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6\r\n"
    assert await client.ask(b64encode(b"ann")) == b"+ UGFzc3dvcmQ6\r\n"
    assert await client.ask(b64encode(b"pw")) == b"+OK in\r\n"
    await client.fetch(b"RETR 1")
    [record] = await scene.records(1)
    assert record["user"] == "ann"


_REFUSED = [
    *(b"XTND XMIT", b"UTF8", b"LANG en", b"LAST", b"RPOP x", b"AUTH", b"AUTH GSSAPI", b"AUTH PLAIN a b", b"", b"STLS"),
    *(
        b"RETR 1",
        b"STAT",
        b"APOP x",
        b"US\0ER x",
        b"\xff\xfe",
        b"A" * 600,
        b"PASS a\0b",
        b"USER a\rDELE 1",
        b"AUTH PLAIN !",
    ),
]


async def test_what_is_not_vouched_for_is_not_relayed(start: Start, server: Pop3Server) -> None:
    """Not known, not now, not well-formed: the server hears nothing of it."""
    scene = await start(server)
    client = await scene.client()
    await client.line()
    for line in _REFUSED:
        assert (await client.ask(line)).startswith(b"-ERR "), line
    assert server.lines == []
    assert await client.ask(b"QUIT") == b"+OK\r\n"


async def test_numbers_are_numbers(start: Start, server: Pop3Server) -> None:
    """What is no message is not asked for."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    known = len(server.lines)
    for line in (b"RETR", b"RETR 0", b"RETR -1", b"RETR 1 2", b"TOP 1", b"TOP 1 -1", b"LIST x", b"STAT 1"):
        assert (await client.ask(line)).startswith(b"-ERR syntax: ")
    assert len(server.lines) == known


async def test_who_makes_no_sense_is_sent_away(start: Start, server: Pop3Server) -> None:
    """After twenty lines; the server hears no QUIT."""
    scene = await start(server)
    client = await scene.client()
    client.send(b"WHAT\r\n" * 50)
    answer = await client.rest()
    assert answer.count(b"-ERR unknown command\r\n") == 20
    assert answer.endswith(b"-ERR too many errors\r\n")
    await wait_until(lambda: server.ends == ["gone"])
    assert server.lines == []


async def test_only_a_client_that_says_quit_has_mails_deleted(start: Start, server: Pop3Server) -> None:
    """The server of one that just leaves is left the same way."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    assert await client.ask(b"DELE 1") == b"+OK\r\n"
    client.writer.close()
    await wait_until(lambda: server.ends == ["gone"])
    assert b"QUIT" not in server.lines
    await scene.settled()


async def test_a_client_that_leaves_amid_a_check_ends_it(start: Start, server: Pop3Server) -> None:
    """The record says so, nothing is held."""
    server.pause = 40
    scene = await start(server)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 2\r\n")
    await wait_until(lambda: b"RETR 2" in server.lines)
    client.writer.transport.abort()
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("cut", "client-gone")
    await scene.settled()


@pytest.mark.parametrize("answer", [CUT, b"hello\r\n", b"+OK\0\r\n", b"+OKAY\r\n", b"+ c29tZQ==\r\n", b"x" * 9000])
async def test_a_server_that_babbles_ends_the_session(start: Start, server: Pop3Server, answer: bytes) -> None:
    """What is no answer is never guessed at; nothing is held."""
    server.answers[b"RETR"] = answer
    scene = await start(server)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    assert await client.rest() == b"-ERR [SYS/TEMP] the server cannot be reached, try again later\r\n"
    await scene.settled()


@pytest.mark.parametrize("verb", [b"RETR 1", b"LIST", b"UIDL", b"CAPA"])
async def test_a_server_that_stops_amid_an_answer_ends_the_session(
    start: Start, server: Pop3Server, verb: bytes
) -> None:
    """After `stall`; no half answer looks whole."""
    server.answers[verb] = b"+OK\r\n1 a\r\n"
    scene = await start(server, REPLACE + "limits: {stall: 200ms}\n")
    client = await scene.client()
    await client.login()
    client.send(verb + b"\r\n")
    answer = await client.rest()
    assert b"\r\n.\r\n" not in answer
    assert not (answer.startswith(b"+OK") and b"-ERR" in answer)
    await scene.settled()


@pytest.mark.parametrize("line", [b"a" * 5000, b"a" * 200 + b"\n" + b"b" * 5000])
async def test_a_list_line_without_end_ends_the_session(start: Start, server: Pop3Server, line: bytes) -> None:
    """Bounded, however slowly it comes."""
    server.answers[b"UIDL"] = b"+OK\r\n" + line
    scene = await start(server)
    client = await scene.client()
    await client.login()
    client.send(b"UIDL\r\n")
    assert (await client.rest()).startswith(b"+OK\r\n")
    await scene.settled()


async def test_a_server_that_cannot_be_reached_or_refuses(start: Start, server: Pop3Server) -> None:
    """Its own refusal is the client's; where there is none, ours, and temporary."""
    scene = await start(server)
    server.answers[b"GREETING"] = b"-ERR [IN-USE] maintenance\r\n"
    assert await (await scene.client()).rest() == b"-ERR [IN-USE] maintenance\r\n"
    for greeting in (b"220 smtp\r\n", b"* OK imap\r\n", CUT, b"+OK\r\n+OK injected\r\n"):
        server.answers[b"GREETING"] = greeting
        assert (await (await scene.client()).rest()).startswith(b"-ERR [SYS/TEMP] the server cannot be reached")


async def test_what_nobody_asked_for_is_not_believed(start: Start, server: Pop3Server) -> None:
    """An answer behind an answer would be taken for the next one's."""
    server.answers[b"NOOP"] = b"+OK\r\n+OK injected\r\n"
    scene = await start(server)
    client = await scene.client()
    await client.login()
    client.send(b"NOOP\r\nRETR 2\r\n")
    answer = await client.rest()
    assert b"injected" not in answer
    assert b"RETR 2" not in server.lines


async def test_a_mail_that_never_ends_is_left(start: Start, server: Pop3Server) -> None:
    """Above the spool's cap as much again is read, and no more."""
    server.mails.append(b"Subject: x\r\n\r\n" + b"x" * 100_000 + b"\r\n")
    scene = await start(server, top="spool: {max-object: 4096}\n")
    client = await scene.client()
    await client.login()
    client.send(b"RETR 4\r\n")
    assert (await client.rest()).startswith(b"-ERR [SYS/TEMP] the server cannot be reached")
    await scene.settled()


async def test_passwords_are_nowhere(start: Start, server: Pop3Server, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the log at its most talkative, not in records, not in the quarantine."""
    caplog.set_level("DEBUG")
    scene = await start(server, DENY)
    client = await scene.client()
    await client.login()
    await client.ask(b"RETR 2")
    server.answers[b"RETR 1"] = CUT
    await client.ask(b"RETR 1")
    await scene.records(1)
    texts = [file.read_text(errors="replace") for file in scene.directory.rglob("*") if file.is_file()]
    assert b"PASS marker-password" in server.lines
    assert not any("marker-password" in text for text in (*texts, caplog.text))
