"""One campaign for the session: one gateway, one stock mitmdump beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.clients.browser import Chromium
from tests.clients.programs import find_chromium
from tests.fakes.loop_thread import LoopThread
from tests.fakes.origin import Origin
from tests.http.conftest import Gateways
from tests.http.policies import builtin, checked
from tests.http.proxy import STOCK, Proxy
from tests.http.variants import table
from tests.http.variants.campaign import Campaign, Outcome


@pytest.fixture(scope="session")
def stock(gateways: Gateways) -> Iterator[Proxy]:
    """mitmdump without us."""
    with Proxy(scripts=(), options=gateways.options(), ready=STOCK) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def checking(gateways: Gateways) -> Proxy:
    """The gateway with the built-in engine."""
    return gateways.get(checked(builtin()))


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium | None]:
    """One browser for all variants, where there is one."""
    if find_chromium() is None:
        yield None
        return
    with Chromium() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def outcomes(
    checking: Proxy,
    stock: Proxy,
    fakes: LoopThread,
    h2_origin: Origin,
    client_ca: str,
    browser: Chromium | None,
) -> list[Outcome]:
    """What became of every variant. With EVASIONS=write in the environment the table is written anew."""
    found = Campaign(checking, stock, fakes, h2_origin, client_ca, browser).run()
    if os.environ.get("EVASIONS") == "write":
        assert browser is not None, "the table counts what Chromium was shown"
        table.write(found)
    return found
