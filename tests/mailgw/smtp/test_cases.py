"""Cases of the list of expected outcomes that need no foreign server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from pathlib import Path

import pytest
import trustme

from mailgw.smtp.gateway import SmtpGateway
from scanners.fake import FakeClamd, Fault
from tests.fakes.next_hop import NextHop
from tests.mailgw.scenes import wait_until
from tests.mailgw.smtp.conftest import ACCEPT, CLEAN, INFECTED, VARIANT_1, Client, Start, write_policy

DENY = "- {name: VIRUS, when: {virus-status: [found]}, action: deny, quarantine: true}\n" + ACCEPT


async def test_a_denied_mail_is_kept(start: Start, hop: NextHop) -> None:
    """554, the original in the quarantine under the id that the client heard, nothing at the next hop."""
    scene = await start(hop, mail_acl=DENY)
    client = await scene.client()
    await client.begin()
    reply = await client.mail(INFECTED)
    assert reply.startswith(b"554 5.7.1 not accepted: found, id ")
    [kept] = scene.kept()
    assert (kept.stem, kept.read_bytes()) == (reply.split()[-1].decode(), INFECTED)
    assert hop.mails == []


# An OK before the object is told from one behind it only where the object takes time to send: scanners' own tests.
_UNTOLD = (Fault.NONE, Fault.BLIND, Fault.EARLY_OK)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in _UNTOLD])
async def test_an_engine_that_makes_no_sense_lets_nothing_pass(start: Start, hop: NextHop, fault: Fault) -> None:
    """Whatever it says that is not the one word for clean: 451, or discarded and kept; never delivered."""
    async with FakeClamd() as clamd:
        scene = await start(
            hop, engine=f'{{protocol: clamav-net, address: "{clamd.address}", timeout: 500ms, canary: off}}'
        )
        clamd.fault = fault
        client = await scene.client()
        await client.begin()
        reply = await client.mail(CLEAN)
        [record] = await scene.records(1)
        assert record["status"] in ("error", "unknown", "skipped")
        if record["status"] == "error":
            assert reply.startswith(b"451 4.7.1 not accepted: error, id ")
            assert scene.kept() == []
        else:
            assert reply.startswith(b"250 2.0.0 accepted, id ")
            assert len(scene.kept()) == 1
        assert hop.mails == []
        clamd.fault = Fault.NONE
        await client.ask(b"QUIT")
        await scene.settled()


async def test_a_full_quarantine_defers(start: Start, hop: NextHop) -> None:
    """What would be discarded, but cannot be kept, is 451: nothing is lost."""
    top = "spool: {memory: 1000}\n"
    scene = await start(hop, top=top, gateway="quarantine: {directory: quarantine, max-size: 100, on-full: refuse}\n")
    client = await scene.client()
    await client.begin()
    assert (await client.mail(INFECTED)).startswith(b"451 4.7.1 not accepted: found, id ")
    [record] = await scene.records(1)
    assert (record["status"], record["action"], record["quarantine"]) == ("found", "defer", None)
    assert scene.kept() == []
    assert hop.mails == []


async def test_a_slow_upload_is_not_cut(start: Start, hop: NextHop) -> None:
    """Every octet begins `stall` anew, however long the mail takes in all; who sends none is let go."""
    scene = await start(hop, gateway="limits: {stall: 300ms}\n")
    client = await scene.client()
    await client.begin()
    await client.ask(b"DATA")
    for line in (*CLEAN.splitlines(keepends=True), b".\r\n"):
        client.send(line)
        await asyncio.sleep(0.1)  # a slow client
    assert (await client.reply()).startswith(b"250")
    await client.ask(b"MAIL FROM:<a@example.org>")
    await client.ask(b"RCPT TO:<b@example.com>")
    await client.ask(b"DATA")
    client.send(b"Subject:")
    assert (await client.reply()).startswith(b"421 4.4.2")
    assert len(hop.mails) == 1
    await scene.settled()


async def test_implicit_tls_towards_the_next_hop(start: Start, hop: NextHop, tmp_path: Path) -> None:
    """Verified by the policy's `ca`; a certificate by somebody else is no next hop."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    for issuer, answer in ((ca, b"250"), (trustme.CA(), b"421")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert("127.0.0.1").configure_cert(context)
        async with await asyncio.start_server(hop._serve, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            scene = await start(
                servers=f"127.0.0.1:{port}", gateway="server-tls: {mode: implicit, ca: ca.pem}\n", mail_acl=ACCEPT
            )
            client = await scene.client()
            if answer == b"421":
                assert (await client.rest()).startswith(b"421 4.4.1")
            else:
                await client.begin()
                assert (await client.mail(CLEAN)).startswith(answer)
                await client.ask(b"QUIT")
            await scene.settled()
    assert [mail.wire for mail in hop.mails] == [CLEAN]


async def test_unix_sockets_on_both_sides(hop: NextHop) -> None:
    """A client behind a Unix socket is this machine: it may speak for others (XFORWARD), and has no address itself."""
    with tempfile.TemporaryDirectory(prefix="smtp-") as name:
        home = Path(name)
        async with await asyncio.start_unix_server(hop._serve, str(home / "hop")):
            write_policy(
                home / "p.yaml", str(home / "hop"), VARIANT_1, engine="{protocol: builtin}", gateway="", top=""
            )
            gateway = SmtpGateway(home / "p.yaml", "SMTP", "stdout")
            gateway.read()
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(home / "in"))
            await gateway.start([listening])
            reader, writer = await asyncio.open_unix_connection(str(home / "in"))
            client = Client(reader, writer)
            await client.reply()
            assert b"XFORWARD" in await client.ask(b"EHLO me")
            assert (await client.ask(b"XFORWARD NAME=x ADDR=192.0.2.7")).startswith(b"250")
            await client.ask(b"MAIL FROM:<a@example.org>")
            await client.ask(b"RCPT TO:<b@example.com>")
            assert (await client.mail(CLEAN)).startswith(b"250")
            assert (await client.ask(b"QUIT")).startswith(b"221")
            writer.transport.abort()
            await wait_until(lambda: not gateway._sessions)
            await gateway.close()
            assert '"client": "192.0.2.7"' in (home / "audit").read_text()
    assert [mail.wire for mail in hop.mails] == [CLEAN]


async def test_a_mail_within_a_mail_that_is_infected_deeply(start: Start, hop: NextHop) -> None:
    """A virus five messages deep is found, and its part named in the record."""
    mail = INFECTED
    for _ in range(5):
        mail = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + mail
    scene = await start(hop)
    client = await scene.client()
    await client.begin()
    assert (await client.mail(mail)).startswith(b"250 2.0.0 accepted, id ")
    [record] = await scene.records(1)
    assert [document["status"] for document in record["documents"]] == ["found"]
    assert hop.mails == []
