"""The stage for real clients: that of the HTTP tests, seen by programs that users run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.browser import Chromium
from tests.http.conftest import (
    authority,
    client_ca,
    confdir,
    engine,
    fakes,
    gateway,
    gateways,
    h2_origin,
    origin,
    slow_engine,
    tls_origin,
)

__all__ = [
    "authority",
    "client_ca",
    "confdir",
    "engine",
    "fakes",
    "gateway",
    "gateways",
    "h2_origin",
    "origin",
    "slow_engine",
    "tls_origin",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests; each has a context of its own."""
    with Chromium() as browser:
        yield browser
