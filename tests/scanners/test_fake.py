"""What only the fake has: counters, and the rules by which its faults strike."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.clamd.net import ClamavNet, Transport
from scanners.endpoint import Endpoint
from scanners.fake import FakeClamd, Fault
from tests.scanners.scripted import CLEAN, INFECTED, terms


async def test_commands_and_connections_are_counted() -> None:
    """A test can see what was asked and that nothing stays open."""
    async with FakeClamd() as fake:
        engine = ClamavNet(fake.address, Transport.INSTREAM)
        await engine.version()
        await engine.ask(CLEAN)
        await fake.idle()
        assert fake.commands == [b"VERSION", b"INSTREAM"]
        assert repr(fake) == f"<FakeClamd {fake.address} none, 0 connections>"


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_the_proof_stands_behind_every_fault(fault: Fault, family: str, short_directory: Path) -> None:
    """Faults spare EICAR unless told otherwise, so an engine can be proven and then meet them."""
    unix = short_directory / "s" if family == "unix" else None
    async with FakeClamd(unix, fault=fault) as fake:
        roads = [Transport.INSTREAM] if unix is None else list(Transport)
        for road in roads:
            endpoint = Endpoint([ClamavNet(fake.address, road)], terms(most=3 << 20))
            await endpoint.start()
            assert endpoint.proven
            assert (await endpoint.ask(INFECTED)).status is Status.FOUND
            await endpoint.close()


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.NONE, Fault.SILENCE, Fault.SLOW}))
async def test_blind_to_eicar_no_proof_stands(fault: Fault) -> None:
    """With `blind_to_eicar` a fault strikes the canary, too."""
    async with FakeClamd(fault=fault) as fake:
        fake.blind_to_eicar = True
        endpoint = Endpoint([ClamavNet(fake.address, Transport.INSTREAM)], terms())
        await endpoint.start()
        assert not endpoint.proven
        await endpoint.close()


@pytest.mark.parametrize("alert", [True, False])
async def test_the_file_limit_is_told_or_not(alert: bool) -> None:
    """Above `file_limit` it says so or, like clamd as it is shipped, OK; the probe finds the limit either way."""
    async with FakeClamd() as fake:
        fake.file_limit, fake.alert_exceeds = 5000, alert
        engine = ClamavNet(fake.address, Transport.INSTREAM)
        assert (await engine.ask(MemoryBody(b"x" * 5000))).status is Status.FREE
        expected = Status.SKIPPED if alert else Status.FREE
        assert (await engine.ask(MemoryBody(b"x" * 5001))).status is expected
        endpoint = Endpoint([engine], terms(most=100_000))
        await endpoint.start()
        assert (await endpoint.ask(MemoryBody(b"x" * 5001))).status is Status.SKIPPED
        assert endpoint.limit == 5000
        await endpoint.close()


async def test_delay_holds_the_answer_back() -> None:
    """`delay` is the time of a scan in seconds."""
    async with FakeClamd() as fake:
        fake.delay = 0.05
        began = asyncio.get_running_loop().time()
        await ClamavNet(fake.address, Transport.INSTREAM).ask(CLEAN)
        assert asyncio.get_running_loop().time() - began >= 0.05


async def test_not_serving_keeps_clients_waiting(short_directory: Path) -> None:
    """With `serving` cleared connections are taken and get no answer until it is set again."""
    async with FakeClamd(short_directory / "s") as fake:
        fake.serving.clear()
        engine = ClamavNet(fake.address, Transport.FILDES)
        asking = asyncio.get_running_loop().create_task(engine.ask(CLEAN))
        _, waiting = await asyncio.wait([asking], timeout=0.05)
        assert waiting
        fake.serving.set()
        assert (await asking).status is Status.FREE


async def test_its_socket_file_stays_behind(short_directory: Path) -> None:
    """Like a killed clamd it leaves its socket file; a new one needs the name freed first."""
    path = short_directory / "s"
    async with FakeClamd(path):
        pass
    assert path.exists()
    with pytest.raises(OSError, match="in use"):
        await FakeClamd(path).start()


async def test_a_descriptor_command_without_descriptor() -> None:
    """FILDES over TCP brings no descriptor, and clamd's words for that."""
    async with FakeClamd() as fake:
        reader, writer = await asyncio.open_connection(fake.address.host, fake.address.port)
        writer.write(b"zFILDES\0\0")
        assert await reader.read() == b"No file descriptor received. ERROR\0"
        writer.write(b"")
        writer.close()
        await writer.wait_closed()
