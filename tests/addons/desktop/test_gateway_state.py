"""A gateway's state as data."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from addons.desktop.gateway_state import describe_gateway, find_age
from tests.addons.test_gateway import make

NOW = datetime(2026, 11, 23, 8, 31, 35)


async def test_a_proven_engine_is_told() -> None:
    """Name, proof and limit of the built-in engine, the policy's file, and nothing that JSON could not say."""
    gateway, _ = make()
    await gateway.open()
    state = describe_gateway(gateway, Path("/p.yaml"), NOW)
    await gateway.close()
    assert json.loads(json.dumps(state)) == state
    assert (state["gateway"], state["policy"], state["transfers"]) == ("http-proxy.H", "/p.yaml", 0)
    (engine,) = state["engines"]
    assert (engine["name"], engine["state"], engine["proven"]) == ("AV", "proven", True)
    assert (engine["coverage"], engine["failure"]) == ("test-signatures", "")


async def test_an_engine_that_is_not_proven_says_why() -> None:
    """Before its proof an engine is not usable."""
    gateway, _ = make()
    (engine,) = describe_gateway(gateway, None, NOW)["engines"]
    assert (engine["proven"], engine["state"], engine["failure"]) == (False, "not proven", "not proven yet")


def test_no_gateway_is_a_state_too() -> None:
    """Before the first policy is in force there is nothing, and that is said."""
    assert describe_gateway(None, None, NOW)["gateway"] is None


@pytest.mark.parametrize(
    ("version", "hours"),
    [
        ("ClamAV 1.4.6/27000/Sun Nov 22 08:31:35 2026", 24.0),
        ("ClamAV 1.4.6/27000/Mon Nov  2 08:31:35 2026", 504.0),
        ("ClamAV 1.4.6/27000/Sun Nov 99 08:31:35 2026", None),
        ("ClamAV 1.4.6", None),
        ("builtin 1/0", None),
        ("", None),
    ],
)
def test_the_age_of_clamds_database(version: str, hours: float | None) -> None:
    """It is read from the version; where there is none, or nonsense, none is claimed."""
    assert find_age(version, NOW) == hours
