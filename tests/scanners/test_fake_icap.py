"""The fake ICAP server, asked by hand: what its users may rely on."""

from __future__ import annotations

import asyncio

import pytest

from policy.model import Policy
from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.fake_icap import FakeIcap, Fault
from scanners.registry import open_antivirus
from tests.scanners.scripted import CLEAN, INFECTED


async def say(fake: FakeIcap, request: bytes) -> bytes:
    """Its whole reply to a request after which nothing more is sent."""
    reader, writer = await asyncio.open_connection(fake.address.host, fake.address.port)
    writer.write(request)
    writer.write_eof()
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    return reply


async def test_options() -> None:
    """It tells what c-icap tells, or what the test wants."""
    async with FakeIcap() as fake:
        fake.options["Max-Connections"] = "3"
        reply = await say(fake, b"OPTIONS icap://x/avscan ICAP/1.0\r\nHost: x\r\n\r\n")
    assert reply.startswith(b"ICAP/1.0 200 ")
    assert b"\r\nPreview: 1024\r\n" in reply
    assert b"\r\nMax-Connections: 3\r\n" in reply
    assert [(r.method, r.uri) for r in fake.requests] == [("OPTIONS", "/avscan")]


async def test_another_service() -> None:
    """Only its own service is known."""
    async with FakeIcap(uri="/scan") as fake:
        assert b" 404 " in await say(fake, b"OPTIONS icap://x/avscan ICAP/1.0\r\n\r\n")


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.GARBAGE, Fault.EARLY_204, Fault.CLOSE_MIDWAY, Fault.HALF_BODY])
async def test_the_proof_stands_and_what_follows_meets_the_fault(fault: Fault) -> None:
    """An antivirus starts on a faulty server as on a good one: only its checks fail."""
    async with FakeIcap(fault=fault) as fake:
        section = {"protocol": "icap", "address": str(fake.address), "uri": fake.uri, "max-checked-size": "2MiB"}
        antivirus = open_antivirus(Policy.model_validate({"antivirus": {"A": section}}), ["A"])["A"]
        await antivirus.start()
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        report = await antivirus.check(MemoryBody(b"nothing to see" * 1000))
        await antivirus.close()
    assert (report.status is Status.FREE) == (fault is Fault.NONE)


async def test_blind_to_eicar() -> None:
    """A server that finds nothing any more is never proven."""
    async with FakeIcap(fault=Fault.BLIND, blind_to_eicar=True) as fake:
        section = {"protocol": "icap", "address": str(fake.address), "uri": fake.uri, "timeout": "2s"}
        antivirus = open_antivirus(Policy.model_validate({"antivirus": {"A": section}}), ["A"])["A"]
        await antivirus.start()
        assert (await antivirus.check(CLEAN)).status is Status.ERROR
        await antivirus.close()


async def test_a_reply_of_the_tests_own() -> None:
    """`reply` goes out as it stands."""
    async with FakeIcap(reply=b"ICAP/1.0 299 Mine\r\n\r\n") as fake:
        body = b"GET / HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        head = b"RESPMOD icap://x/avscan ICAP/1.0\r\nEncapsulated: req-hdr=0, res-hdr=18, res-body=37\r\n\r\n"
        assert await say(fake, head + body) == b"ICAP/1.0 299 Mine\r\n\r\n"
