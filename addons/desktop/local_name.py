"""The name `sluice.local`, which leads nowhere but to the gateway itself.

Rules of this file: pure; a name is ours in every spelling that a resolver would take for it; only clients on this
machine are answered.
"""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from addons.targets import parse_address

HOST = "sluice.local"
URL = f"http://{HOST}/"

# Modes in which a client leaves the name to the proxy.
_BY_NAME = (mode_specs.RegularMode, mode_specs.UpstreamMode)


def is_local_name(host: str) -> bool:
    """Whether a host is ours."""
    return host.rstrip(".").lower() == HOST


def is_asked(flow: http.HTTPFlow) -> bool:
    """Whether a request is for us: by its target, not by what its Host header says."""
    return is_local_name(flow.request.host)


def is_local_client(client: Client) -> bool:
    """Whether a client is on this machine."""
    address = parse_address(client.peername[0].partition("%")[0]) if client.peername else None
    return address is not None and address.is_loopback


def find_link(flow: http.HTTPFlow, entry: str) -> str | None:
    """The URL that explains an id to this flow's client; None where the client cannot reach it."""
    reaches = isinstance(flow.client_conn.proxy_mode, _BY_NAME) and is_local_client(flow.client_conn)
    return f"{URL}why/{entry}" if reaches else None
