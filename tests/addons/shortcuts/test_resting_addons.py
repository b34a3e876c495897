"""mitmproxy's addons that rest as long as their option does."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

import pytest
from mitmproxy import addons as stock
from mitmproxy import hooks
from mitmproxy.addonmanager import AddonManager
from mitmproxy.test import taddons, tflow

from addons.shortcuts.hook_table import HookTable
from addons.shortcuts.resting_addons import FLOW_EVENTS, OPTION_OF, rests

_AT_WORK = {
    "anticache": True,
    "anticomp": True,
    "block_list": ["/~all/444"],
    "hardump": "-",
    "map_local": ["|example.org|/dev/null"],
    "map_remote": ["|example.org|example.com"],
    "modify_body": ["/a/b"],
    "modify_headers": ["/a/b"],
    "onboarding": True,
    "proxyauth": "any",
    "stickyauth": ".",
    "stickycookie": ".",
    "upstream_auth": "a:b",
}


@pytest.fixture
async def context() -> AsyncIterator[taddons.context]:
    with taddons.context(*(addon for addon in stock.default_addons() if type(addon) in OPTION_OF)) as context:
        context.options.onboarding = False
        yield context


def _kinds_called(manager: AddonManager, event: str) -> set[type]:
    table = HookTable(manager)
    groups = table._find(hooks.all_hooks[event](tflow.tflow(resp=True)))  # type: ignore[call-arg]  # each of a flow
    return {type(getattr(function, "__self__", None)) for group in groups for function in group}


@pytest.mark.parametrize("kind", OPTION_OF, ids=lambda kind: kind.__name__)
async def test_an_addon_rests_until_its_option_is_set(context: taddons.context, kind: type) -> None:
    """At the default none of its hooks is called for a flow; with the option set each of them is."""
    option = OPTION_OF[kind]
    own = {event for event in FLOW_EVENTS - {"update"} if callable(getattr(kind, event, None))}
    assert own
    manager = context.master.addons
    assert not [event for event in own if kind in _kinds_called(manager, event)]
    context.options.update(**{option: _AT_WORK[option]})
    assert [event for event in sorted(own) if kind in _kinds_called(manager, event)] == sorted(own)


@pytest.mark.parametrize("kind", OPTION_OF, ids=lambda kind: kind.__name__)
async def test_who_rests_would_have_done_nothing(context: taddons.context, kind: type) -> None:
    """Every hook of a resting addon leaves the flow as it was."""
    addon = next(addon for addon in context.master.addons.chain if type(addon) is kind)
    for event in FLOW_EVENTS:
        flow = tflow.tflow(resp=event not in ("requestheaders", "request", "http_connect"))
        flow.request.headers["if-none-match"] = flow.request.headers["accept-encoding"] = "x"
        flow.request.headers["cookie"] = flow.request.headers["authorization"] = "x"
        before = flow.get_state()
        result = getattr(addon, event, lambda _flow: None)(flow)
        if inspect.isawaitable(result):
            await result
        assert flow.get_state() == before
        assert rests(addon, event, context.options)


async def test_what_is_no_flows_event_reaches_everybody(context: taddons.context) -> None:
    """Starts, ends and changed options do not depend on them."""
    addon = next(addon for addon in context.master.addons.chain if type(addon) in OPTION_OF)
    assert not [event for event in ("running", "done", "configure", "load") if rests(addon, event, context.options)]
