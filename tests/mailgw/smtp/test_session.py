"""Whole conversations: a client, the gateway, a next hop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scanners.specimens import EICAR
from tests.fakes.next_hop import NextHop
from tests.mailgw.smtp.conftest import CLEAN, INFECTED, Start

WHOLE = (
    b"EHLO me\r\nMAIL FROM:<a@example.org> SIZE=9\r\nRCPT TO:<b@example.com> NOTIFY=NEVER\r\nDATA\r\n"
    b"Subject: 1\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n.\r\nRSET\r\nQUIT\r\n"
)


async def test_a_clean_mail_goes_on_with_its_envelope(start: Start, hop: NextHop) -> None:
    """The next hop's answer is the client's, the octets and the envelope are those that came, one record is written."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin(b"b@example.com", b"c@example.com")
    assert await client.mail(CLEAN) == b"250 2.0.0 Ok: queued as A1B2\r\n"
    assert await client.ask(b"QUIT") == b"221 2.0.0 Bye\r\n"
    assert await client.rest() == b""
    [mail] = hop.mails
    assert mail.wire == CLEAN
    assert mail.sender == b"MAIL FROM:<a@example.org>"
    assert mail.recipients == [b"RCPT TO:<b@example.com>", b"RCPT TO:<c@example.com>"]
    [record] = await scene.records(1)
    assert record["event"] == "mail"
    assert (record["status"], record["action"], record["acl"]) == ("free", "accept", "MAILOK")
    assert (record["object"], record["client"], record["size"]) == ("<1@example.org>", "127.0.0.1", len(CLEAN))
    assert [document["action"] for document in record["documents"]] == ["accept"]
    await scene.settled()


async def test_two_mails_in_one_segment_are_answered_in_order(start: Start, hop: NextHop) -> None:
    """A pipelined session is the same, octet for octet, as one that came an octet at a time."""
    scene = await start(hop)
    answers = []
    for size in (len(WHOLE), 1):
        client = await scene.client()
        await client.reply()
        for at in range(0, len(WHOLE), size):
            client.send(WHOLE[at : at + size])
            await asyncio.sleep(0)
        answers.append(await client.rest())
    assert answers[0] == answers[1]
    codes = [line[:3] for line in answers[0].split(b"\r\n") if line[3:4] == b" "]
    assert codes == [b"250", b"250", b"250", b"354", b"250", b"250", b"250", b"354", b"250", b"250", b"221"]
    assert [mail.wire for mail in hop.mails] == [b"Subject: 1\r\n\r\n..dot\r\n", b""] * 2
    assert hop.mails[0].sender == b"MAIL FROM:<a@example.org> SIZE=9"
    assert hop.mails[0].recipients == [b"RCPT TO:<b@example.com> NOTIFY=NEVER"]


async def test_an_infected_mail_is_discarded_and_kept(start: Start, hop: NextHop) -> None:
    """15.5: the client hears 250 with the id, the next hop gets nothing, the quarantine has the octets that came."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    reply = await client.mail(INFECTED)
    [record] = await scene.records(1)
    assert reply == b"250 2.0.0 accepted, id " + record["id"].encode() + b"\r\n"
    assert hop.mails == []
    assert b"DATA" not in hop.lines
    assert hop.lines[-1] == b"RSET"
    [kept] = scene.kept()
    assert kept.stem == record["id"] == record["quarantine"]
    assert kept.read_bytes() == INFECTED
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (record["status"], record["action"], record["reason"]) == ("found", "discard", "virus-found")


async def test_a_refused_mail_is_named_by_status_and_id_alone(start: Start, hop: NextHop) -> None:
    """No rule, no engine, no virus name goes to a stranger."""
    acl = "- {name: SECRET, when: {virus-status: [found]}, action: deny}\n- {name: OK, action: accept}\n"
    scene = await start(hop, mail_acl=acl)
    client = await scene.client()
    await client.begin()
    reply = await client.mail(INFECTED)
    [record] = await scene.records(1)
    assert reply == b"554 5.7.1 not accepted: found, id " + record["id"].encode() + b"\r\n"
    assert hop.mails == []


async def test_the_policy_may_say_what_the_client_hears(start: Start, hop: NextHop) -> None:
    """`reply`, with the id behind it."""
    acl = "- {name: V, when: {virus-status: [found]}, action: deny, reply: call 555}\n- {name: OK, action: accept}\n"
    client = await (await start(hop, mail_acl=acl)).client()
    await client.begin()
    assert (await client.mail(INFECTED)).startswith(b"554 5.7.1 call 555, id ")


async def test_an_engine_that_is_down_defers_and_the_retry_is_delivered(start: Start, hop: NextHop) -> None:
    """451, nothing kept, nothing sent on; once a policy with an engine is in force the same mail passes."""
    engine = "{protocol: clamav-net, address: /nonexistent/clamd, canary: off, timeout: 1s}"
    scene = await start(hop, engine=engine)
    client = await scene.client()
    await client.begin()
    assert (await client.mail(CLEAN)).startswith(b"451 4.7.1 not accepted: error, id ")
    assert (hop.mails, scene.kept()) == ([], [])
    file = scene.directory / "policy.yaml"
    file.write_text(file.read_text().replace(engine, "{protocol: builtin}"))
    await scene.gateway.reload()
    assert (await client.ask(b"MAIL FROM:<a@example.org>")).startswith(b"250")
    assert (await client.ask(b"RCPT TO:<b@example.com>")).startswith(b"250")
    assert (await client.mail(CLEAN)).startswith(b"250 2.0.0 Ok: queued")
    assert [mail.wire for mail in hop.mails] == [CLEAN]


async def test_a_broken_policy_changes_nothing_at_a_reload(start: Start, hop: NextHop) -> None:
    """It is logged, and the old one stays in force."""
    scene = await start(hop)
    site = scene.gateway.site
    (scene.directory / "policy.yaml").write_text("smtp-proxy: {SMTP: nonsense}\n")
    await scene.gateway.reload()
    assert scene.gateway.site is site
    client = await scene.client()
    await client.begin()
    assert (await client.mail(CLEAN)).startswith(b"250")


async def test_one_refused_recipient_of_two(start: Start, hop: NextHop) -> None:
    """Its 550 is the client's, the other one gets the mail."""
    hop.answers[b"RCPT TO:<bad@example.com>"] = b"550 5.1.1 no such user\r\n"
    client = await (await start(hop)).client()
    await client.begin()
    assert await client.ask(b"RCPT TO:<bad@example.com>") == b"550 5.1.1 no such user\r\n"
    assert (await client.mail(CLEAN)).startswith(b"250")
    assert hop.mails[0].recipients == [b"RCPT TO:<b@example.com>"]


async def test_data_without_a_recipient_is_refused(start: Start, hop: NextHop) -> None:
    """503 without MAIL, 554 where every recipient was refused; no 354."""
    hop.answers[b"RCPT"] = b"550 5.1.1 no\r\n"
    client = await (await start(hop)).client()
    await client.reply()
    assert (await client.ask(b"DATA")).startswith(b"503")
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    assert (await client.ask(b"DATA")).startswith(b"554 5.5.1")


@pytest.mark.parametrize("final", [b"552 5.3.4 too big\r\n", b"451 4.3.0 later\r\n", b"450-a\r\n450 b\r\n"])
async def test_the_next_hops_refusal_is_the_clients(start: Start, hop: NextHop, final: bytes) -> None:
    """Code and text, after the mail; the record says whose doing it was."""
    hop.answers[b"."] = final
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    assert await client.mail(CLEAN) == final
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("deny" if final[:1] == b"5" else "defer", "upstream")


async def test_a_mail_that_is_tried_again_is_kept_once(start: Start, hop: NextHop) -> None:
    """Kept before delivery, refused by the next hop, sent again, delivered: one entry."""
    acl = "- {name: V, when: {virus-status: [found]}, action: accept, quarantine: true}\n"
    docs = "doc-acl: [{name: D, when: {virus-status: [found, free]}, action: accept}]\n"
    scene = await start(hop, mail_acl=acl, gateway=docs)
    client = await scene.client()
    await client.begin()
    hop.answers[b"."] = b"451 4.3.0 later\r\n"
    assert (await client.mail(INFECTED)).startswith(b"451")
    hop.answers.clear()
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    assert (await client.mail(INFECTED)).startswith(b"250")
    first, second = await scene.records(2)
    assert first["quarantine"] == second["quarantine"]
    assert len(scene.kept()) == 1


async def test_what_cannot_be_kept_is_deferred(start: Start, hop: NextHop) -> None:
    """No quarantine, no 250: the client tries again."""
    scene = await start(hop, top="")
    scene.quarantine.chmod(0o500)
    for entry in scene.quarantine.iterdir():
        entry.unlink()
    scene.quarantine.rmdir()
    client = await scene.client()
    await client.begin()
    assert (await client.mail(INFECTED)).startswith(b"451 4.7.1")
    assert hop.mails == []
    scene.quarantine.mkdir(mode=0o700)


async def test_copies_are_recipients_of_the_same_mail(start: Start, hop: NextHop) -> None:
    """A true blind copy, without notifications where DSN is offered."""
    acl = "- {name: C, action: accept, copy-to: [admin@example.com]}\n"
    client = await (await start(hop, mail_acl=acl)).client()
    await client.begin()
    assert (await client.mail(CLEAN)).startswith(b"250")
    [mail] = hop.mails
    assert mail.recipients == [b"RCPT TO:<b@example.com>", b"RCPT TO:<admin@example.com> NOTIFY=NEVER"]
    assert mail.wire == CLEAN


async def test_a_refused_copy_defers_the_mail(start: Start, hop: NextHop) -> None:
    """Nobody gets it, the client tries again."""
    hop.answers[b"RCPT TO:<admin@example.com> NOTIFY=NEVER"] = b"550 5.1.1 no\r\n"
    acl = "- {name: C, action: accept, copy-to: [admin@example.com]}\n"
    client = await (await start(hop, mail_acl=acl)).client()
    await client.begin()
    assert (await client.mail(CLEAN)).startswith(b"451 4.7.1")
    assert (hop.mails, hop.lines[-1]) == ([], b"RSET")


async def test_a_bare_line_end_is_refused(start: Start, hop: NextHop) -> None:
    """550 5.6.11, one mail, and the next hop sees nothing of it."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    assert (await client.mail(b"a\r\n\n.\nMAIL FROM:<evil@example.org>\r\n")).startswith(b"550 5.6.11")
    assert (hop.mails, hop.lines[-1]) == ([], b"RSET")
    [record] = await scene.records(1)
    assert (record["action"], record["reason"]) == ("deny", "protocol")


async def test_chunks_go_on_as_they_came(start: Start, hop: NextHop) -> None:
    """BDAT: collected, checked, sent on as one; no line end is added to what has none."""
    client = await (await start(hop)).client()
    await client.begin()
    client.send(b"BDAT 9\r\na: b\r\n\r\n.BDAT 6 LAST\r\n\r\n.\r\nbNOOP\r\n")
    assert (await client.reply()).startswith(b"250 2.0.0 9 octets")
    assert (await client.reply()).startswith(b"250 2.0.0 Ok: queued")
    assert (await client.reply()).startswith(b"250")
    assert [mail.wire for mail in hop.mails] == [b"a: b\r\n\r\n.\r\n.\r\nb"]


async def test_chunks_that_are_refused_are_read_all_the_same(start: Start, hop: NextHop) -> None:
    """Their octets are never taken for commands."""
    client = await (await start(hop)).client()
    await client.reply()
    client.send(b"EHLO me\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert (await client.reply()).startswith(b"250")
    assert (await client.reply()).startswith(b"503")
    assert (await client.reply()).startswith(b"250")
    assert (await client.ask(b"BDAT x")).startswith(b"501")
    assert await client.rest() == b""


async def test_infected_chunks_are_discarded_and_kept(start: Start, hop: NextHop) -> None:
    """The verdict is the same by BDAT."""
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    client.send(b"BDAT %d LAST\r\n" % len(INFECTED) + INFECTED)
    assert (await client.reply()).startswith(b"250 2.0.0 accepted")
    assert hop.mails == []
    assert [kept.read_bytes() for kept in scene.kept()] == [INFECTED]


async def test_a_login_passes_and_leaves_no_trace(start: Start, hop: NextHop, caplog: pytest.LogCaptureFixture) -> None:
    """Challenges, answers and the cancellation go through; nothing of them is in records or logs."""
    caplog.set_level("DEBUG")
    hop.answers |= {
        b"AUTH": b"334 VXNlcm5hbWU6\r\n",
        b"c2VjcmV0": b"235 2.7.0 ok\r\n",
        b"*": b"501 5.7.0 cancelled\r\n",
    }
    scene = await start(hop)
    client = await scene.client()
    await client.reply()
    assert (await client.ask(b"EHLO me")).count(b"AUTH PLAIN LOGIN") == 1
    assert await client.ask(b"AUTH LOGIN") == b"334 VXNlcm5hbWU6\r\n"
    assert await client.ask(b"*") == b"501 5.7.0 cancelled\r\n"
    assert await client.ask(b"AUTH LOGIN") == b"334 VXNlcm5hbWU6\r\n"
    assert await client.ask(b"c2VjcmV0") == b"235 2.7.0 ok\r\n"
    assert (await client.ask(b"AUTH GSSAPI")).startswith(b"504")
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    await client.mail(CLEAN)
    await scene.records(1)
    assert "c2VjcmV0" not in (scene.directory / "audit").read_text() + caplog.text


@pytest.mark.parametrize("verb", [b"XCLIENT ADDR=1.2.3.4", b"ETRN x", b"BURL x", b"TURN", b"LHLO x"])
async def test_what_would_go_round_the_gateway_is_not_relayed(start: Start, hop: NextHop, verb: bytes) -> None:
    """502, and the next hop never hears of it."""
    client = await (await start(hop)).client()
    await client.reply()
    assert (await client.ask(verb)).startswith(b"502 5.5.1")
    assert hop.lines == []


async def test_a_client_that_makes_no_sense_is_shown_the_door(start: Start, hop: NextHop) -> None:
    """Twenty commands that nobody knows are enough; lines too long are one of them each."""
    client = await (await start(hop)).client()
    await client.reply()
    client.send(b"x" * 20000 + b"\r\n" + b"NONSENSE\r\n" * 30)
    answers = (await client.rest()).splitlines()
    assert answers[0].startswith(b"500 5.5.2 line too long")
    assert [line[:3] for line in answers] == [b"500"] * 20 + [b"421"]


async def test_a_mail_over_the_room_is_refused_for_good(start: Start, hop: NextHop) -> None:
    """552 where SIZE announces it, and where it comes unannounced; EHLO tells the limit."""
    scene = await start(hop, top="spool: {max-object: 1000, max-total: 5000}\n")
    client = await scene.client()
    await client.reply()
    assert b"SIZE 1000\r\n" in await client.ask(b"EHLO me")
    assert (await client.ask(b"MAIL FROM:<a@example.org> SIZE=1001")).startswith(b"552 5.3.4")
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    assert (await client.mail(b"x" * 1001 + b"\r\n")).startswith(b"552 5.3.4")
    assert hop.mails == []
    await client.ask(b"QUIT")
    await scene.settled()


async def test_without_scanning_mail_passes_untouched(start: Start, hop: NextHop) -> None:
    """`no-mail-scanning`: even EICAR, recorded as unchecked."""
    scene = await start(hop, gateway="no-mail-scanning: true\n")
    client = await scene.client()
    await client.begin()
    assert (await client.mail(INFECTED)).startswith(b"250")
    assert [mail.wire for mail in hop.mails] == [INFECTED]
    [record] = await scene.records(1)
    assert (record["status"], record["action"], record["engines"]) == (None, "accept", [])


async def test_the_chapters_second_variant(start: Start, hop: NextHop, tmp_path: Path) -> None:
    """15.6: one mail, the infected part replaced, the sibling's octets kept, the subject prefixed, a blind copy, the
    original in the quarantine; a clean mail comes as it is and without a copy."""
    scene_acl = (
        "- {name: VIRUS, when: {virus-status: [found]}, action: accept, quarantine: true,"
        ' copy-to: [admin@example.com], prefix-subject: "[VIRUS REMOVED] "}\n'
        "- {name: AV-ERROR, when: {virus-status: [error]}, action: defer}\n- {name: MAILOK, action: accept}\n"
    )
    docs = (
        "doc-acl:\n  - {name: DOC-INFECTED, when: {virus-status: [found]}, action: replace, replace: note.txt}\n"
        "  - {name: DOCOK, action: accept}\n"
    )
    (tmp_path / "note.txt").write_text("{virus}, {id}\n")
    scene = await start(hop, mail_acl=scene_acl, gateway=docs)
    head = b'Subject: hi\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    sibling = b"--b\r\nContent-Type: text/plain\r\n\r\n  ..dots \r\n\r\n"
    mail = head + sibling + b"--b\r\n\r\n" + EICAR + b"\r\n--b--\r\nepilogue\r\n"
    client = await scene.client()
    await client.begin()
    assert (await client.mail(mail)).startswith(b"250 2.0.0 Ok: queued")
    [got] = hop.mails
    assert got.recipients == [b"RCPT TO:<b@example.com>", b"RCPT TO:<admin@example.com> NOTIFY=NEVER"]
    assert EICAR not in got.wire
    assert sibling in got.wire
    assert got.wire.endswith(b"\r\n--b--\r\nepilogue\r\n")
    [record] = await scene.records(1)
    assert record["action"] == "replace"
    assert [document["action"] for document in record["documents"]] == ["accept", "replace"]
    assert b"X-Sluice-Quarantine-Id: " + record["quarantine"].encode() in got.wire
    assert b"\r\nSubject: [VIRUS REMOVED] hi\r\n" in got.wire
    [kept] = scene.kept()
    assert kept.read_bytes() == mail
    assert (await client.ask(b"MAIL FROM:<a@example.org>")).startswith(b"250")
    assert (await client.ask(b"RCPT TO:<b@example.com>")).startswith(b"250")
    assert (await client.mail(CLEAN)).startswith(b"250")
    assert hop.mails[1].wire == CLEAN
    assert hop.mails[1].recipients == [b"RCPT TO:<b@example.com>"]
    await client.ask(b"QUIT")
    await scene.settled()
