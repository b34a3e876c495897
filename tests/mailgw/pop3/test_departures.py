"""Who stays and who goes: reloads, drains, limits, silence."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

from tests.fakes.pop3_server import CUT, Pop3Server
from tests.mailgw.pop3.conftest import CLEAN, DENY, REPLACE, Start, write_policy
from tests.mailgw.scenes import wait_until


async def test_a_reload_judges_the_next_mail(start: Start, server: Pop3Server) -> None:
    """The session goes on under the new policy; a broken one changes nothing."""
    scene = await start(server)
    client = await scene.client()
    await client.login()
    await client.fetch(b"TOP 2 0")
    file = scene.directory / "policy.yaml"
    write_policy(file, server.port, DENY, engine="{protocol: builtin}", top="")
    await scene.gateway.reload()
    assert (await client.ask(b"RETR 2")).startswith(b"-ERR not accepted: found")
    file.write_text("nonsense: true\n")
    await scene.gateway.reload()
    assert (await client.ask(b"RETR 2")).startswith(b"-ERR not accepted: found")
    await client.ask(b"QUIT")
    await scene.settled()


async def test_a_drain_lets_a_mail_end(start: Start, server: Pop3Server) -> None:
    """Who has not logged in is told to come again; new ones find nobody."""
    server.pause = 30
    scene = await start(server)
    waiting = await scene.client()
    await waiting.line()
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\nQUIT\r\n")
    await wait_until(lambda: b"RETR 1" in server.lines)
    drain = asyncio.get_running_loop().create_task(scene.gateway.drain(10))
    assert (await waiting.rest()).startswith(b"-ERR [SYS/TEMP] shutting down")
    server.go_on.set()
    assert CLEAN + b".\r\n+OK\r\n" in await client.rest()
    await drain


async def test_a_drain_cuts_who_does_not_end(start: Start, server: Pop3Server) -> None:
    """Without the final dot."""
    server.pause = 30
    scene = await start(server)
    client = await scene.client()
    await client.login()
    client.send(b"RETR 1\r\n")
    await wait_until(lambda: b"RETR 1" in server.lines)
    await scene.gateway.drain(0)
    assert await client.rest() == b""
    await scene.settled()


async def test_too_many_connections_are_refused(start: Start, server: Pop3Server) -> None:
    """In all, and of one client."""
    scene = await start(server, REPLACE + "limits: {per-client: 1}\n")
    first = await scene.client()
    await first.line()
    second = await scene.client()
    assert (await second.rest()).startswith(b"-ERR [SYS/TEMP] too many connections")
    assert server.open == 1


async def test_a_silent_client_is_left(start: Start, server: Pop3Server) -> None:
    """After `idle`; and one that never ends a line, after `header`."""
    scene = await start(server, REPLACE + "limits: {idle: 200ms, header: 200ms}\n")
    for words in (b"", b"NOO"):
        client = await scene.client()
        client.send(words)
        assert (await client.rest()).endswith(b"-ERR [SYS/TEMP] timeout exceeded\r\n")


async def test_a_server_that_closes_ends_a_client_that_waits(start: Start, server: Pop3Server, tmp_path: Path) -> None:
    """At once, not at its next command."""
    server.answers[b"NOOP"] = b"+OK\r\n"
    scene = await start(server)
    client = await scene.client()
    await client.login()
    [session] = scene.gateway._sessions
    await wait_until(lambda: session._lines.idle)  # type: ignore[attr-defined]  # the Protocol does not tell
    server.answers[b"NOOP"] = CUT
    assert await client.ask(b"NOOP") == b"-ERR [SYS/TEMP] the server cannot be reached, try again later\r\n"
    assert await client.rest() == b""


_BITS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"..",
        b"\r\n.",
        b"\r\n.\n",
        b"\n.\r\n",
        b"\0",
        b"\xff",
        b"a" * 90,
        b"=",
        b"--b",
        b" ",
    ),
    *(
        b"Subject: x\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"\r\n\r\n",
        b"\r\n--b\r\n",
        b"\r\n--b--\r\n",
    ),
]


async def test_octets_in_are_octets_out(start: Start, server: Pop3Server) -> None:
    """Of mails put together at random, odd ones too, where the policy lets every status pass; none has two ends."""
    chance = random.Random(1725)  # noqa: S311 - the same mails each time
    server.mails = [b"".join(chance.choices(_BITS, k=chance.randrange(30))) + b"\r\n" for _ in range(80)]
    scene = await start(server, REPLACE.replace("action: replace, replace: notice.txt", "action: accept"))
    client = await scene.client()
    await client.login()
    for number, mail in enumerate(server.mails, 1):
        wire = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
        client.send(b"RETR %d\r\n" % number)
        if re.search(rb"(?<!\r)\n\.\r?\n", mail):
            assert (await client.line()).startswith(b"-ERR a line that some clients")
            continue
        expected = b"+OK %d octets\r\n" % len(mail) + wire + b".\r\n"
        async with asyncio.timeout(10):
            assert await client.reader.readexactly(len(expected)) == expected
    assert await client.ask(b"NOOP") == b"+OK\r\n"
