"""What a client says through SOCKS, or to a server that it takes for its own (transparent mode): HTTP, or nothing.

Rules of this file: mitmproxy chooses the layer first; what the administrator exempted by `ignore_hosts` or `tcp_hosts`
stays exempt; no relay that looks into nothing is chosen because of a port.
"""

from __future__ import annotations

from mitmproxy import ctx
from mitmproxy.proxy import layer, layers
from mitmproxy.proxy.layers.http import HTTPMode


class TunnelAddon:
    """Keeps DNS over TCP from being relayed, with anything in its messages. Under CONNECT the port is refused."""

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Called before or after mitmproxy's own addon, which leaves alone what has been chosen."""
        ctx.master.addons.get("nextlayer").next_layer(nextlayer)
        if isinstance(nextlayer.layer, layers.DNSLayer) and nextlayer.context.client.transport_protocol == "tcp":
            nextlayer.layer = layers.HttpLayer(nextlayer.context, HTTPMode.transparent)
