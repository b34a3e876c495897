"""drwebd's stands: the engine by both roads, over Unix socket and TCP, against the fake. There is no real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scanners.comm_dir import CommDir
from scanners.drweb.file import DrwebFile
from scanners.drweb.net import DrwebNet
from scanners.engine import Engine
from scanners.fake_drweb import FakeDrweb


@dataclass
class Stand:
    """An engine, the daemon behind it, and the comm-dir, used or not."""

    engine: Engine
    fake: FakeDrweb
    comm: Path


@pytest.fixture(params=["net-tcp", "net-unix", "file-tcp", "file-unix"])
async def stand(request: pytest.FixtureRequest, short_directory: Path) -> AsyncIterator[Stand]:
    """Every road. Afterwards no connection and no file is left, and the daemon understood every word it was sent."""
    road, family = request.param.split("-")
    comm = short_directory / "comm"
    comm.mkdir()
    async with FakeDrweb(short_directory / "s" if family == "unix" else None) as fake:
        engine = DrwebNet(fake.address) if road == "net" else DrwebFile(fake.address, CommDir(comm))
        yield Stand(engine, fake, comm)
        async with asyncio.timeout(5):
            await fake.idle()
        await engine.close()
    assert fake.complaints == []
    assert [*comm.iterdir()] == []
