"""The ICAP servers that must all be understood alike: c-icap with virus_scan before clamd, and our fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from scanners.fake_icap import FakeIcap
from scanners.icap.net import Icap
from tests.real.c_icap_server import CIcapServer


@pytest.fixture
async def fake_icap() -> AsyncIterator[FakeIcap]:
    """A fake server; at the end no connection may be open."""
    async with FakeIcap() as fake:
        yield fake
        async with asyncio.timeout(5):
            await fake.idle()


@pytest.fixture
async def engine(fake_icap: FakeIcap) -> AsyncIterator[Icap]:
    """An engine that asks the fake."""
    engine = Icap(fake_icap.address, fake_icap.uri)
    yield engine
    await engine.close()


REAL = pytest.param("real", marks=[pytest.mark.clamd, pytest.mark.c_icap])


@pytest.fixture
async def real_engine(real_c_icap: CIcapServer) -> AsyncIterator[Icap]:
    """An engine that asks the real c-icap, as the documentation recommends."""
    engine = Icap(real_c_icap.tcp, "/avscan")
    yield engine
    await engine.close()


@pytest.fixture(params=["fake", REAL])
def any_engine(request: pytest.FixtureRequest) -> Icap:
    """An engine that asks the fake or the real c-icap."""
    engine = request.getfixturevalue("engine" if request.param == "fake" else "real_engine")
    assert isinstance(engine, Icap)
    return engine
