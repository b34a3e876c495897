"""What clients that take LF for a line end would take for a mail's end."""

from __future__ import annotations

import pytest

from mailgw.mime.window import CHUNK
from mailgw.pop3.false_end import has_false_end
from scanners.body import MemoryBody
from tests.fakes.pop3_server import Pop3Server
from tests.mailgw.pop3.conftest import CLEAN, Start

_ENDS = [b"a\n.\n+OK", b"a\n.\r\n+OK", b"\r\n\n.\n"]
_NONE = [b"a\r\n.\r\nb", b"a\n..\nb", b"a\n. \nb", b"a\n.b\r\n", b"a\r\n.\nb", b".\n", b"\n.", b""]


@pytest.mark.parametrize("at", [0, 1, 3, CHUNK - 9, *range(CHUNK - 5, CHUNK + 3), 2 * CHUNK - 2])
def test_it_is_seen_wherever_it_stands(at: int) -> None:
    """At a piece's end as in its middle; and what only looks like it is not."""
    for end in _ENDS:
        assert has_false_end(MemoryBody(b"x" * at + end + b"y" * 50))
    for other in _NONE:
        assert not has_false_end(MemoryBody(b"x" * at + other))


async def test_such_a_mail_is_refused(start: Start, server: Pop3Server) -> None:
    """By every policy that has mails scanned; the session goes on, and the record says why."""
    server.mails.append(b"Subject: x\r\n\r\nbye\n.\r\n+OK 70 octets\r\nSubject: smuggled\r\n")
    scene = await start(server)
    client = await scene.client()
    await client.login()
    reply = await client.ask(b"RETR 4")
    [record] = await scene.records(1)
    assert reply == b"-ERR a line that some clients take for the mail's end, id " + record["id"].encode() + b"\r\n"
    assert (record["action"], record["reason"]) == ("deny", "protocol")
    assert CLEAN in await client.fetch(b"RETR 1")
