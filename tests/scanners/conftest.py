"""The engines that must all behave alike: clamd, real and fake, by every transport.

Rules of this file: a stand is one engine on one transport, and what may be done to the server behind it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from policy.address import Address
from scanners.clamd.net import ClamavNet, Transport
from scanners.fake import FakeClamd
from tests.real.clamd_server import ClamdServer

ROADS = {
    "tcp-instream": ("tcp", Transport.INSTREAM),
    "unix-fildes": ("unix", Transport.FILDES),
    "unix-instream": ("unix", Transport.INSTREAM),
}


@dataclass
class Stand:
    """An engine, where it listens, and how it is reached."""

    engine: ClamavNet
    address: Address
    transport: Transport


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose name leaves room for a Unix socket's."""
    with tempfile.TemporaryDirectory(prefix="sl-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> tuple[str, Transport]:
    """Family and transport."""
    return ROADS[request.param]


@pytest.fixture
async def fake_clamd(road: tuple[str, Transport], short_directory: Path) -> AsyncIterator[FakeClamd]:
    """A fake clamd that listens where `road` leads."""
    unix = short_directory / "socket" if road[0] == "unix" else None
    async with FakeClamd(unix) as fake:
        yield fake
        async with asyncio.timeout(5):
            await fake.idle()  # else a connection was left open


@pytest.fixture
def fake_stand(fake_clamd: FakeClamd, road: tuple[str, Transport]) -> Stand:
    """An engine that asks the fake."""
    return Stand(ClamavNet(fake_clamd.address, road[1]), fake_clamd.address, road[1])


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.clamd)])
def stand(request: pytest.FixtureRequest, road: tuple[str, Transport]) -> Stand:
    """An engine that asks the fake or the real clamd."""
    if request.param == "fake":
        made = request.getfixturevalue("fake_stand")
        assert isinstance(made, Stand)
        return made
    return real_stand(request.getfixturevalue("real_clamd"), road)


def real_stand(server: ClamdServer, road: tuple[str, Transport]) -> Stand:
    """An engine that asks this server."""
    address = server.unix if road[0] == "unix" else server.tcp
    return Stand(ClamavNet(address, road[1]), address, road[1])
