"""TLS towards the fake: what is trusted, and what is not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from policy.address import Address
from policy.model import Policy
from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.fake_icap import FakeIcap, Fault
from scanners.icap.net import Icap
from scanners.icap.tls import make_context
from scanners.registry import EngineUnusable, open_antivirus
from scanners.specimens import EICAR


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Somebody's certificate authority."""
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    """Its certificate in a file."""
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's, for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    return context


async def test_a_trusted_server(ca: trustme.CA, ca_file: Path) -> None:
    """Verdicts, previews, echoes and kept connections, as without TLS."""
    async with FakeIcap(tls=server_context(ca, "127.0.0.1")) as fake:
        engine = Icap(fake.address, fake.uri, tls=make_context(ca_file, verify=True))
        assert str(engine).startswith("icaps://")
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
        for fault in (Fault.NONE, Fault.ECHO, Fault.EARLY_ECHO):
            fake.fault = fault
            for size in (0, 1, 3000, 3 << 20):
                assert (await engine.ask(MemoryBody(b"x" * size))).status is Status.FREE
        assert fake.accepted == 1
        await engine.close()
        async with asyncio.timeout(5):
            await fake.idle()


async def test_an_unknown_authority(ca: trustme.CA) -> None:
    """A certificate that nobody vouches for is an error; with `verify: false` it will do."""
    async with FakeIcap(tls=server_context(ca, "127.0.0.1")) as fake:
        answer = await Icap(fake.address, fake.uri, tls=make_context(None, verify=True)).ask(MemoryBody(EICAR))
        assert answer.status is Status.ERROR
        assert "certificate" in answer.detail.lower()
        trusting = Icap(fake.address, fake.uri, tls=make_context(None, verify=False))
        assert (await trusting.ask(MemoryBody(EICAR))).status is Status.FOUND
        await trusting.close()
        async with asyncio.timeout(5):
            await fake.idle()


async def test_another_name(ca: trustme.CA, ca_file: Path) -> None:
    """A certificate for somebody else is an error."""
    async with FakeIcap(tls=server_context(ca, "av.example")) as fake:
        answer = await Icap(fake.address, fake.uri, tls=make_context(ca_file, verify=True)).ask(MemoryBody(EICAR))
        assert answer.status is Status.ERROR


async def test_a_server_without_tls() -> None:
    """A handshake that is answered in the clear is an error."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ICAP/1.0 400 Bad request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        answer = await Icap(address, "/avscan", tls=make_context(None, verify=False)).ask(MemoryBody(EICAR))
    assert answer.status is Status.ERROR


async def test_a_client_without_tls(ca: trustme.CA) -> None:
    """Plain words to a TLS server are an error or make no sense."""
    async with FakeIcap(tls=server_context(ca, "127.0.0.1")) as fake:
        answer = await Icap(fake.address, fake.uri).ask(MemoryBody(EICAR))
        assert answer.status in (Status.ERROR, Status.UNKNOWN)


async def test_a_handshake_that_does_not_end(fake_icap: FakeIcap) -> None:
    """Whoever gives up during the handshake leaves no connection behind."""
    fake_icap.serving.clear()
    engine = Icap(fake_icap.address, fake_icap.uri, tls=make_context(None, verify=False))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await engine.ask(MemoryBody(EICAR))
    fake_icap.serving.set()


def policy(address: Address, uri: str, **more: object) -> Policy:
    """A policy with one icap section."""
    section = {"protocol": "icap", "address": str(address), "uri": uri, "max-checked-size": "2KiB", **more}
    return Policy.model_validate({"antivirus": {"A": section}})


async def test_from_the_policy(ca: trustme.CA, ca_file: Path) -> None:
    """`tls: {ca: FILE}` and `icap-pass-200-with-pure-body` reach the engine."""
    async with FakeIcap(tls=server_context(ca, "127.0.0.1")) as fake:
        made = policy(fake.address, fake.uri, **{"tls": {"ca": str(ca_file)}, "icap-pass-200-with-pure-body": False})
        antivirus = open_antivirus(made, ["A"])["A"]
        await antivirus.start()
        assert (await antivirus.check(MemoryBody(b"clean"))).status is Status.FREE
        assert (await antivirus.check(MemoryBody(b"x" * 1000 + EICAR))).status is Status.FOUND
        assert (await antivirus.check(MemoryBody(b"x" * 2049))).status is Status.SKIPPED
        fake.fault = Fault.ECHO
        assert (await antivirus.check(MemoryBody(b"clean as well"))).status is Status.UNKNOWN
        await antivirus.close()


async def test_a_ca_that_cannot_be_read_is_named(tmp_path: Path, fake_icap: FakeIcap) -> None:
    """A missing or broken file is told at the start, with the section's name."""
    (tmp_path / "broken").write_text("no certificate")
    for name in ("missing", "broken"):
        made = policy(fake_icap.address, fake_icap.uri, tls={"ca": str(tmp_path / name)})
        with pytest.raises(EngineUnusable, match="antivirus A"):
            open_antivirus(made, ["A"])
