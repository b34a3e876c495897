"""Sessions: what is offered, taken and refused, who logs in, what ends it."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from textwrap import indent

import pytest

from mailgw.imap.command_reader import IDLE_AT_LEAST
from tests.fakes.imap_server import CAPABILITIES, CUT, ImapServer
from tests.mailgw.imap.conftest import CLEAN, DENY, INFECTED, Start, body_of
from tests.mailgw.scenes import wait_until

KEPT = b"IMAP4rev1 LITERAL+ SASL-IR IDLE UIDPLUS ENABLE CONDSTORE AUTH=PLAIN"
UNTOUCHED = "command-acl: [{name: ALL, no-mail-scanning: true}]\n"


async def test_capabilities_are_cut_down_wherever_they_are_told(start: Start, server: ImapServer) -> None:
    """In the greeting, untagged, behind a login."""
    client = await (await start(server)).client()
    assert await client.line() == b"* OK [CAPABILITY " + KEPT + b"] hello\r\n"
    assert await client.ask(b"CAPABILITY") == b"* CAPABILITY " + KEPT + b"\r\nOK done\r\n"
    assert await client.ask(b"LOGIN bob secret") == b"OK [CAPABILITY " + KEPT + b"] done\r\n"
    server.answers[b"NOOP"] = b"* OK [CAPABILITY " + CAPABILITIES + b"] x\r\nTAG NO [REFERRAL imap://else/] go\r\n"
    assert await client.ask(b"NOOP") == b"* OK [CAPABILITY " + KEPT + b"] x\r\nNO go\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"COMPRESS DEFLATE",
        b"URLFETCH imap://x",
        b"GENURLAUTH x INTERNAL",
        b"NOTIFY SET (SELECTED (MessageNew (BODY[])))",
        b"CONVERT 1 x",
        b"UID CONVERT 1 x",
        b"REPLACE 1 INBOX {1+}\r\nx",
        b"UID REPLACE 1 INBOX {1+}\r\nx",
        b"GETMETADATA x y",
        b"X-GM-RAW x",
        b"FETCH 1 PREVIEW",
        b"APPEND INBOX CATENATE (URL x)",
        b"APPEND INBOX UTF8 (~{1+}\r\nx)",
        b"AUTHENTICATE GSSAPI",
        b"UNAUTHENTICATE",
        b"UID",
        b"NOOP {3} ",
        b"NOOP {3+ }",
    ],
)
async def test_what_cannot_be_policed_is_not_taken(start: Start, server: ImapServer, line: bytes) -> None:
    """The server never hears of it, and the session goes on."""
    client = await (await start(server)).reader()
    count = len(server.lines)
    assert (await client.ask(line)).startswith((b"BAD ", b"NO "))
    assert len(server.lines) == count
    assert await client.ask(b"NOOP") == b"OK done\r\n"


async def test_enable_is_cut_down(start: Start, server: ImapServer) -> None:
    """UTF8=ACCEPT and IMAP4rev2 would change the grammar."""
    client = await (await start(server)).reader()
    await client.ask(b"ENABLE UTF8=ACCEPT CONDSTORE IMAP4rev2")
    assert server.lines[-1].endswith(b" ENABLE CONDSTORE")
    assert await client.ask(b"ENABLE UTF8=ACCEPT") == b"* ENABLED\r\nOK nothing of that can be enabled\r\n"


async def test_commands_in_one_segment_are_answered_in_order(start: Start, server: ImapServer) -> None:
    """With literals that are not waited for."""
    client = await (await start(server)).client()
    client.send(b"a LOGIN {3+}\r\nbob {5+}\r\nwo rd\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd NOOP\r\ne LOGOUT\r\n")
    said = await client.rest()
    places = [said.index(tag + b" OK") for tag in (b"\r\na", b"\r\nb", b"\r\nc", b"\r\nd", b"\r\ne")]
    assert places == sorted(places)
    assert body_of(said, 1) == CLEAN


async def test_a_client_that_waits_for_a_go_ahead_gets_it(start: Start, server: ImapServer) -> None:
    """And what is too large is refused before it comes."""
    client = await (await start(server)).client()
    await client.line()
    client.send(b"a LOGIN {3}\r\n")
    assert await client.line() == b"+ go ahead\r\n"
    client.send(b"bob {1}\r\n")
    assert await client.line() == b"+ go ahead\r\n"
    client.send(b"x\r\n")
    assert b" OK " in await client.until(b"a ")
    client.send(b"b STATUS {70000}\r\n")
    assert (await client.line()).startswith(b"b NO [TOOBIG]")
    assert await client.ask(b"NOOP") == b"OK done\r\n"


@pytest.mark.parametrize(
    "noise", [b"\r\n", b"*\r\n", b"a\r\n", b"a \r\n", b"a 1\r\n", b"a b\rc\r\n", b"{1+}\r\nx\r\n", b"\xff\xfe x\r\n"]
)
async def test_noise_is_told_and_ends_nothing(start: Start, server: ImapServer, noise: bytes) -> None:
    """But twenty times of it do."""
    client = await (await start(server)).reader()
    client.send(noise)
    assert b" BAD " in await client.line()
    client.send(noise * 19)
    assert (await client.rest()).endswith(b"* BYE too many errors\r\n")


@pytest.mark.parametrize("noise", [b"a NOOP\n", b"a \0\r\n", b"a" * 200_000, b"a x {99999999999}\r\n"])
async def test_what_is_no_imap_ends_the_session(start: Start, server: ImapServer, noise: bytes) -> None:
    """Nobody knows where the next command would begin."""
    scene = await start(server)
    client = await scene.reader()
    client.send(noise)
    assert await client.rest() == b"* BYE that is no IMAP\r\n"
    await scene.settled()


@pytest.mark.parametrize(
    "said",
    [
        b"* 1 FETCH (BODY[] {99999999999}\r\n",
        b"TAGGED OK unknown\r\n",
        b"\0\0\0\r\n",
        b"* a\n",
        b"* OK " + b"x" * (17 << 20),
        b"+ what\r\n",
        CUT,
    ],
    ids=["literal", "tag", "nul", "lf", "line", "plus", "cut"],
)
async def test_a_server_that_speaks_no_imap_ends_the_session(
    start: Start, server: ImapServer, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """With BYE, without a traceback, and nothing is left over."""
    scene = await start(server)
    client = await scene.reader()
    server.answers[b"NOOP"] = said
    client.send(b"a NOOP\r\n")
    assert (await client.rest()).endswith(b"* BYE the mail server cannot be reached, try again later\r\n")
    await scene.settled()
    assert "broke" not in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        b"* 1 FETCH (BODY[] {-100}\r\n",
        b"* 1 FETCH " + b"(" * 100_000 + b"\r\n",
        b"* 1 FETCH (BODY[] NIL) x\r\n",
        b"* URLFETCH x {3}\r\nabc\r\n",
        b"* X-ODD\r\n",
    ],
)
async def test_odd_answers_are_left_out(start: Start, server: ImapServer, said: bytes) -> None:
    """The session goes on."""
    client = await (await start(server)).reader()
    server.answers[b"NOOP"] = said + b"TAG OK done\r\n"
    assert await client.ask(b"NOOP") == b"OK done\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b'* LIST () "/" {5}\r\na\r\nbc\r\n',
        b"* SEARCH 1 2 3\r\n",
        b'* LIST () "/" "* OK [REFERRAL x] [CAPABILITY x]"\r\n',
        b'* LIST () "/" "\xe4\xf6"\r\n',
        b"* VANISHED 1:3\r\n",
        b'* 1 FETCH (ENVELOPE ("d" "a * b ( {12}" NIL ((NIL NIL {3}\r\n)"( "x")) NIL NIL NIL NIL NIL NIL))\r\n',
        b"* NO [ALERT] see {12}\r\n",
    ],
)
async def test_other_answers_pass_octet_for_octet(start: Start, server: ImapServer, said: bytes) -> None:
    """Literals, 8-bit names, odd subjects."""
    client = await (await start(server)).reader()
    server.answers[b"NOOP"] = said + b"TAG OK done\r\n"
    assert await client.ask(b"NOOP") == said + b"OK done\r\n"


async def test_idle_passes_what_the_server_tells(start: Start, server: ImapServer) -> None:
    """At once; DONE ends it."""
    client = await (await start(server)).reader()
    client.send(b"a IDLE\r\n")
    assert await client.line() == b"+ idling\r\n"
    server.say(b"* 4 EXISTS\r\n")
    assert await client.line() == b"* 4 EXISTS\r\n"
    client.send(b"DONE\r\n")
    assert await client.line() == b"a OK done\r\n"
    assert server.lines[-1] == b"DONE"


@pytest.mark.parametrize("end", [b"a NOOP\r\n", b"DONE\n", b"x" * 2000])
async def test_idle_ends_with_done_and_nothing_else(start: Start, server: ImapServer, end: bytes) -> None:
    """What else comes is no IMAP."""
    scene = await start(server)
    client = await scene.reader()
    client.send(b"a IDLE\r\n" + end)
    assert (await client.rest()).endswith(b"* BYE that is no IMAP\r\n")
    await scene.settled()


async def test_a_farewell_of_the_server_is_passed_on(start: Start, server: ImapServer) -> None:
    """Unasked, and the session ends with it alone."""
    client = await (await start(server)).reader()
    server.say(b"* BYE maintenance\r\n")
    assert await client.rest() == b"* BYE maintenance\r\n"


@pytest.mark.parametrize("mechanism", ["login", "plain", "initial"])
async def test_a_login_is_relayed_and_leaves_no_trace(
    start: Start, server: ImapServer, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the log at debug level, nor in the record; the name is there."""
    caplog.set_level(logging.DEBUG)
    scene = await start(server)
    client = await scene.client()
    await client.line()
    coded = b64encode(b"\0bob\0MARKER-word")
    if mechanism == "login":
        await client.ask(b"LOGIN bob MARKER-word")
    elif mechanism == "plain":
        client.send(b"x AUTHENTICATE PLAIN\r\n")
        assert await client.line() == b"+ \r\n"
        client.send(coded + b"\r\n")
        assert b"x OK" in await client.until(b"x ")
        assert server.lines[-1] == coded
    else:
        await client.ask(b"AUTHENTICATE PLAIN " + coded)
    await client.ask(b"SELECT INBOX")
    await client.ask(b"FETCH 1 BODY[]")
    record = (await scene.records(1))[0]
    assert record["user"] == "bob"
    written = caplog.text + (scene.directory / "audit").read_text()
    assert "MARKER" not in written
    assert coded.decode() not in written


async def test_a_login_that_fails_may_be_tried_again(start: Start, server: ImapServer) -> None:
    """The server's words reach the client; nothing is allowed meanwhile."""
    server.answers[b"LOGIN"] = [b"TAG NO [AUTHENTICATIONFAILED] wrong\r\n"]
    client = await (await start(server)).client()
    await client.line()
    assert await client.ask(b"LOGIN bob wrong") == b"NO [AUTHENTICATIONFAILED] wrong\r\n"
    assert await client.ask(b"SELECT INBOX") == b"BAD log in first\r\n"
    assert b"OK" in await client.ask(b"LOGIN bob right")
    assert await client.ask(b"LOGIN bob right") == b"BAD not now\r\n"


async def test_no_command_acl_for_a_user_is_no_session(start: Start, server: ImapServer) -> None:
    """NO and BYE, recorded with the id that the client hears."""
    acl = "command-acl: [{name: BOSS, when: {user: [boss]}, use-antivirus: {download: [AV]}}]\n"
    scene = await start(server, gateway=acl)
    client = await scene.client()
    await client.line()
    said = await client.ask(b"LOGIN bob x")
    record = (await scene.records(1))[0]
    assert (record["action"], record["reason"], record["user"]) == ("deny", "no-acl", "bob")
    assert said == f"NO [AUTHORIZATIONFAILED] not permitted, id {record['id']}\r\n".encode()
    assert await client.rest() == b"* BYE not permitted\r\n"


async def test_without_scanning_octets_pass_untouched(start: Start, server: ImapServer) -> None:
    """Both ways, odd ones too, from behind the login on; one record says that nobody looked."""
    scene = await start(server, acls="", gateway=UNTOUCHED)
    client = await scene.client()
    await client.line()
    assert await client.ask(b"LOGIN bob x") == b"OK [CAPABILITY " + KEPT + b"] done\r\n"
    assert await client.ask(b"CAPABILITY") == b"* CAPABILITY " + CAPABILITIES + b"\r\nOK done\r\n"
    assert body_of(await client.ask(b"FETCH 2 BODY[]"), 2) == INFECTED
    server.answers[b"X-ODD"] = b"\0\n\r odd\r\nTAG OK\r\n"
    client.send(b"x X-ODD\r\n")
    assert await client.until(b"x ") == b"\0\n\r odd\r\nx OK\r\n"
    client.send(b"y LOGOUT\r\n")
    assert await client.rest() == b"y OK done\r\n"
    record = (await scene.records(1))[0]
    assert (record["acl"], record["action"], record["status"]) == ("ALL", "accept", None)
    await scene.settled()


async def test_servers_are_asked_in_order(start: Start, server: ImapServer) -> None:
    """One that is down, one that says BYE, one that serves."""
    async with ImapServer(answers={b"GREETING": b"* BYE full\r\n"}) as full:
        where = f"[127.0.0.1:1, 127.0.0.1:{full.port}, 127.0.0.1:{server.port}]"
        client = await (await start(where=where)).client()
        assert (await client.line()).startswith(b"* OK ")


async def test_no_server_is_told(start: Start) -> None:
    """The last one's farewell, or ours."""
    client = await (await start(where="127.0.0.1:1")).client()
    assert await client.rest() == b"* BYE the mail server cannot be reached, try again later\r\n"


async def test_one_client_too_many_hears_so(start: Start, server: ImapServer) -> None:
    """And costs no connection to the server."""
    scene = await start(server, gateway="limits: {per-client: 1}\n")
    await scene.reader()
    assert await (await scene.client()).rest() == b"* BYE too many connections, try again later\r\n"
    assert server.open == 1


async def test_session_acl_is_asked_first(start: Start, server: ImapServer) -> None:
    """The refusal has the record's id."""
    scene = await start(server, gateway="session-acl: [{name: NO, action: deny}]\n")
    said = await (await scene.client()).rest()
    record = (await scene.records(1))[0]
    assert said == f"* BYE not permitted, id {record['id']}\r\n".encode()
    assert not server.open


async def test_who_says_nothing_before_a_login_is_let_go(start: Start, server: ImapServer) -> None:
    """`idle` until then, `header` for a line that was begun; behind the login half an hour at the least."""
    scene = await start(server, gateway="limits: {idle: 500ms, header: 500ms}\n")
    assert (await (await scene.client()).rest()).endswith(b"* BYE timeout exceeded\r\n")
    client = await scene.reader()
    client.send(b"a NOO")
    assert (await client.rest()) == b"* BYE timeout exceeded\r\n"
    assert IDLE_AT_LEAST >= 1800


async def test_a_drain_ends_idle_sessions_with_bye(start: Start, server: ImapServer) -> None:
    """At once, those that IDLE, too."""
    scene = await start(server)
    client, other = await scene.reader(), await scene.reader()
    other.send(b"a IDLE\r\n")
    await other.line()
    async with asyncio.timeout(3):
        await scene.gateway.drain(30)
    assert await client.rest() == b"* BYE shutting down, try again later\r\n"
    assert await other.rest() == b"* BYE shutting down, try again later\r\n"


async def test_another_policy_holds_from_the_next_command_on(start: Start, server: ImapServer) -> None:
    """A session stays; the mail that was covered is refused now."""
    scene = await start(server)
    client = await scene.reader()
    assert b"REMOVED" in await client.ask(b"FETCH 2 BODY[]")
    file = scene.directory / "policy.yaml"
    text = file.read_text()
    begin, end = text.index("    mail-acl"), text.index("    command-acl")
    file.write_text(text[:begin] + indent(DENY, "    ") + text[end:])
    await scene.gateway.reload()
    assert (await client.ask(b"FETCH 2 BODY[]")).startswith(b"NO not accepted: found")
    file.write_text("nonsense: [")
    await scene.gateway.reload()
    assert (await client.ask(b"FETCH 2 BODY[]")).startswith(b"NO not accepted: found")


async def test_a_cut_ends_everything(start: Start, server: ImapServer) -> None:
    """Also with the server."""
    scene = await start(server)
    client = await scene.reader()
    scene.gateway.cut()
    assert b"BYE" in await client.rest()
    await wait_until(lambda: server.open == 0)
    await scene.settled()
