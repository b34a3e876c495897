"""The shorter ways beside mitmproxy's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import hooks, http
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.proxy.server_hooks import ServerConnectHook, ServerConnectionHookData
from mitmproxy.test import tflow
from mitmproxy.utils import asyncio_utils

from addons.shortcuts import lookups

_NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Accept", b"X-\xff", b"x-\xff", b""])
_FIELDS = st.lists(st.tuples(_NAMES, st.binary(max_size=4)), max_size=5)
_ASKED = st.one_of(_NAMES, st.sampled_from(["Host", "hOST", "accept", "x-\udcff", "X-Ä", "", "none"]))


@pytest.fixture(autouse=True)
def _own_ways() -> Iterator[None]:
    """Each test begins and ends with mitmproxy's own."""
    lookups.remove()
    yield
    lookups.remove()


def _ask(fields: list[tuple[bytes, bytes]], name: str | bytes) -> list[Any]:
    headers = http.Headers(fields)
    return [headers.get_all(name), headers.get(name), headers.get(name, 5), name in headers]


@given(fields=_FIELDS, name=_ASKED)
def test_headers_answer_as_mitmproxys_own(fields: list[tuple[bytes, bytes]], name: str | bytes) -> None:
    """Any spelling, several fields of a name, bytes that are no text, and names that are not there."""
    own = _ask(fields, name)
    lookups.install()
    try:
        assert _ask(fields, name) == own
    finally:
        lookups.remove()


def test_an_event_gives_the_same_arguments() -> None:
    """A flow's event and a connection's."""
    flow = tflow.tflow()
    events = [HttpRequestHook(flow), ServerConnectHook(ServerConnectionHookData(flow.server_conn, flow.client_conn))]
    own = [event.args() for event in events]
    lookups.install()
    assert [event.args() for event in events] == own
    assert hooks.UpdateHook([flow]).args() == [[flow]]


async def test_a_task_is_named_as_before() -> None:
    """What mitmproxy's list of tasks shows of it: name, age and client."""
    lookups.install()
    task = asyncio_utils.create_task(asyncio.sleep(0), name="a task", keep_ref=True, client=("10.0.0.1", 5))
    assert asyncio_utils.task_repr(task) == "10.0.0.1:5: a task (age: 0s)"
    await task


def test_messages_are_made_without_a_check_of_their_types() -> None:
    """As under `python -O`; what they hold is what was given."""
    lookups.install()
    assert http.Response.make(200, b"text", {"a": "b"}).data.content == b"text"


def test_all_that_was_taken_is_given_back() -> None:
    """Removing leaves mitmproxy's classes and modules as they were found; it may be done twice."""

    def look() -> list[Any]:
        return [vars(owner).get(name) for owner, name, _short in lookups._REPLACED]

    own = look()
    lookups.install()
    lookups.install()
    assert look() == [short for _owner, _name, short in lookups._REPLACED]
    lookups.remove()
    lookups.remove()
    assert look() == own
