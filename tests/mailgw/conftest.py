"""Gateways that run as long as a test does, and certificates for their TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.mailgw.scenes import Scene, Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Begins scenes, and ends them."""
    async with AsyncExitStack() as stack:

        async def begin[S: Scene[Any]](scene: S) -> S:
            stack.push_async_callback(scene.close)
            await scene.begin()
            return scene

        yield begin


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Who signs."""
    return trustme.CA()


@pytest.fixture
def pem(ca: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """Files of a certificate for 127.0.0.1, its key, and who signed it."""
    issued = ca.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "ca")}
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    ca.cert_pem.write_to_path(files["ca"])
    return files
