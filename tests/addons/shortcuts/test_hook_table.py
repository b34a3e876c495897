"""The remembered way from an event to the addons, beside mitmproxy's own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons import anticache
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import taddons, tflow

from addons.shortcuts import lookups
from addons.shortcuts.hook_table import HookTable

Event = hooks.UpdateHook


class Listener:
    """Tells its calls to a list; `act` is what it does besides."""

    def __init__(self, name: str, calls: list[str], act: Callable[[], Any] = lambda: None) -> None:
        self.name, self._calls, self._act = name, calls, act

    def update(self, flows: object) -> Any:
        self._calls.append(self.name)
        return self._act()


class Holder:
    """An addon that holds others, as mitmproxy's script loader does."""

    def __init__(self, name: str, *addons: object) -> None:
        self.name, self.addons = name, list(addons)


class Deaf:
    """Has no hook of the event's name."""

    name = "deaf"


class Odd:
    """Has something else of the event's name."""

    name = "odd"
    update = 5


@pytest.fixture
async def manager() -> AsyncIterator[AddonManager]:
    with taddons.context() as context:
        yield context.master.addons
    lookups.remove()


def _fail() -> None:
    raise RuntimeError("out of order")


def _halt() -> None:
    raise exceptions.AddonHalt


async def _later(calls: list[str]) -> None:
    calls.append("later")


async def test_it_calls_whom_mitmproxy_calls(manager: AddonManager, caplog: pytest.LogCaptureFixture) -> None:
    """Order, nesting, coroutines, errors and a halt: the same calls and the same words in the log."""
    calls: list[str] = []
    manager.add(
        Listener("first", calls),
        Deaf(),
        Holder("holder", Listener("inner", calls), Listener("fails", calls, _fail), Listener("unheard", calls)),
        Holder("odd holder", Listener("before odd", calls), Odd(), Listener("after odd", calls)),
        Listener("waits", calls, lambda: _later(calls)),
        Holder("last holder", Listener("halts", calls, _halt), Listener("never", calls)),
        Listener("nor this", calls),
    )

    async def trigger() -> tuple[list[str], list[str]]:
        calls.clear()
        caplog.clear()
        await manager.trigger_event(Event([]))
        return list(calls), [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    own = await trigger()
    HookTable(manager).install()
    assert await trigger() == own
    assert await trigger() == own
    assert own[0] == ["first", "inner", "fails", "before odd", "waits", "later", "halts"]
    assert len(own[1]) == 2


async def test_options_that_an_addon_refuses_are_refused(manager: AddonManager) -> None:
    """This error is not for the log but for whoever triggered the event, as in mitmproxy."""

    def refuse() -> None:
        raise exceptions.OptionsError("no")

    manager.add(Listener("refuses", [], refuse))
    HookTable(manager).install()
    with pytest.raises(exceptions.OptionsError, match="no"):
        await manager.trigger_event(Event([]))


async def test_addons_come_and_go(manager: AddonManager) -> None:
    """An addon that was added, removed, put in front, or registered by another one is called from the next event on."""
    calls: list[str] = []
    table = HookTable(manager)
    table.install()

    async def heard() -> list[str]:
        calls.clear()
        await manager.trigger_event(Event([]))
        return list(calls)

    assert await heard() == []
    holder, first, second = Holder("holder"), Listener("first", calls), Listener("second", calls)
    manager.add(holder, first)
    assert await heard() == ["first"]
    holder.addons.append(manager.register(second))
    assert await heard() == ["second", "first"]
    manager.remove(second)
    holder.addons.remove(second)
    manager.chain = [Listener("in front", calls), *manager.chain]
    assert await heard() == ["in front", "first"]
    table.remove()
    assert "trigger_event" not in vars(manager)
    manager.clear()
    assert await heard() == []


async def test_an_addon_that_does_not_load_changes_nothing(manager: AddonManager) -> None:
    """As in mitmproxy, where a second addon of a name is an error."""
    HookTable(manager).install()
    calls: list[str] = []
    manager.add(Listener("first", calls))
    with pytest.raises(exceptions.AddonManagerError, match="already exists"):
        manager.add(Listener("first", calls))
    await manager.trigger_event(Event([]))
    assert calls == ["first"]


@pytest.mark.parametrize(("version", "fits"), [("12.2.3", True), ("12.3.0", False), ("13.0.0", False)])
def test_only_a_known_mitmproxy_is_helped(version: str, fits: bool) -> None:
    """One whose addon manager nobody compared with keeps its own way."""
    assert HookTable.fits(version) is fits


async def test_who_rested_is_called_once_the_table_was_emptied(manager: AddonManager) -> None:
    """An option that changes sets its addon to work, from the next event on."""
    flow = tflow.tflow()
    flow.request.headers["if-none-match"] = "x"
    manager.add(anticache.AntiCache())
    table = HookTable(manager)
    table.install()
    await manager.trigger_event(HttpRequestHook(flow))
    assert "if-none-match" in flow.request.headers
    manager.master.options.anticache = True
    table.forget()
    await manager.trigger_event(HttpRequestHook(flow))
    table.remove()
    assert "if-none-match" not in flow.request.headers
