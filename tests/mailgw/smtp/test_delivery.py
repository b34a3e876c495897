"""A mail goes to the next hop octet for octet, whether in one go or in pieces."""

from __future__ import annotations

import pytest

from mailgw.channel import Channel
from mailgw.far_side import Route
from mailgw.smtp.delivery import Delivery
from mailgw.smtp.next_hop import NextHop as Hop
from mailgw.smtp.next_hop import NextHopGone, open_next_hop
from policy.address import Address
from scanners.body import MemoryBody
from tests.fakes.next_hop import NextHop

AT_ONCE = 64 * 1024
LINE = b".dots and more\r\n"


async def _connect(server: NextHop) -> Hop:
    route = Route([Address(host="127.0.0.1", port=server.port)], "none", None, connect_within=5, stall=5)
    hop, _ = await open_next_hop(route)
    for line in (b"EHLO me", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>"):
        assert (await hop.ask(line)).good
    return hop


@pytest.mark.parametrize("size", [0, 16, AT_ONCE - 16, AT_ONCE, AT_ONCE + 16, 9 * AT_ONCE])
async def test_octets(hop: NextHop, size: int) -> None:
    """Dots are doubled at the begin of every line, the end comes once, and the next hop's answer is handed back."""
    connection = await _connect(hop)
    content = LINE * (size // len(LINE))
    reply = await Delivery(connection, MemoryBody(content), lambda: False).run()
    assert reply.good
    [mail] = hop.mails
    assert mail.wire == content.replace(b".dots", b"..dots")
    await connection.quit()


async def test_a_small_mail_goes_in_one_segment(hop: NextHop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail, end and all: every further segment costs the next hop a wake-up."""
    connection = await _connect(hop)
    written: list[bytes] = []
    write = Channel.write
    monkeypatch.setattr(Channel, "write", lambda self, data: (written.append(data), write(self, data))[1])
    await Delivery(connection, MemoryBody(b"a: b\r\n\r\nc\r\n"), lambda: False).run()
    assert written == [b"DATA\r\n", b"a: b\r\n\r\nc\r\n.\r\n"]
    await connection.quit()


@pytest.mark.parametrize("size", [16, 9 * AT_ONCE])
async def test_a_client_that_left_has_no_mail_delivered(hop: NextHop, size: int) -> None:
    """The connection is cut before the end of the mail, in one go or in pieces."""
    connection = await _connect(hop)
    with pytest.raises(ConnectionError, match="client left"):
        await Delivery(connection, MemoryBody(LINE * (size // len(LINE))), lambda: True).run()
    assert connection.over
    with pytest.raises(NextHopGone):
        await connection.ask(b"NOOP")
    assert hop.mails == []
