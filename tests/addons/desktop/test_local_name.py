"""Who asks for sluice.local, and who may."""

from __future__ import annotations

import pytest
from mitmproxy.proxy import mode_specs
from mitmproxy.test import tflow

from addons.desktop.local_name import find_link, is_asked, is_local_client, is_local_name


@pytest.mark.parametrize("host", ["sluice.local", "SLUICE.local", "sluice.local."])
def test_every_spelling_is_ours(host: str) -> None:
    """Case and the dot of the root make no other name."""
    assert is_local_name(host)


@pytest.mark.parametrize("host", ["sluice.local.example.org", "a.sluice.local", "sluice.locale", "localhost", ""])
def test_other_names_are_not(host: str) -> None:
    """What merely looks like it goes its usual way."""
    assert not is_local_name(host)


def test_the_host_header_does_not_ask() -> None:
    """A request to another target is that target's, whatever its Host header says."""
    flow = tflow.tflow()
    flow.request.host = "example.org"
    flow.request.headers["host"] = "sluice.local"
    assert not is_asked(flow)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_local(address: str) -> None:
    """Every address that only this machine reaches, also in IPv6's spelling."""
    flow = tflow.tflow()
    flow.client_conn.peername = (address, 1)
    assert is_local_client(flow.client_conn)


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("fe80::1%eth0", 1), ("::", 1), ("", 1), None])
def test_all_else_is_not(peer: tuple[str, int] | None) -> None:
    """Others, and those without an address, are strangers."""
    flow = tflow.tflow()
    flow.client_conn.peername = peer
    assert not is_local_client(flow.client_conn)


@pytest.mark.parametrize(
    ("mode", "address", "linked"),
    [
        ("regular", "127.0.0.1", True),
        ("upstream:http://up:1", "127.0.0.1", True),
        ("regular", "192.0.2.1", False),
        ("reverse:http://o:1", "127.0.0.1", False),
        ("socks5", "127.0.0.1", False),
    ],
)
def test_a_link_is_for_who_can_follow_it(mode: str, address: str, linked: bool) -> None:
    """Local clients that leave names to the proxy get one, nobody else."""
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = mode_specs.ProxyMode.parse(mode)
    flow.client_conn.peername = (address, 1)
    assert find_link(flow, "id9") == ("http://sluice.local/why/id9" if linked else None)
