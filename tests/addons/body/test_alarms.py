"""Timers by name."""

from __future__ import annotations

import asyncio

import pytest

from addons.body.alarms import Alarms

pytestmark = pytest.mark.looptime


async def test_an_alarm_set_anew_rings_once() -> None:
    """The later setting holds, under its own name alone."""
    alarms, rung = Alarms(), list[str]()
    now = asyncio.get_running_loop().time()
    alarms.set("a", now + 1, lambda: rung.append("early"))
    alarms.set("a", now + 2, lambda: rung.append("late"))
    alarms.set("b", now + 1, lambda: rung.append("other"))
    await asyncio.sleep(5)
    assert rung == ["other", "late"]


async def test_a_closed_set_is_silent() -> None:
    """Neither what was set nor what is set afterwards rings."""
    alarms, rung = Alarms(), list[str]()
    now = asyncio.get_running_loop().time()
    alarms.set("a", now + 1, lambda: rung.append("a"))
    alarms.close()
    alarms.close()
    alarms.set("b", now + 1, lambda: rung.append("b"))
    await asyncio.sleep(5)
    assert rung == []
