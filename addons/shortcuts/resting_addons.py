"""Which of mitmproxy's addons have nothing to do: their option is at its default, and their hooks look and leave.

Rules of this file: an addon is named here only where all that its hooks do hangs on one option; what acts without one
(HTTP/2 upgrades taken off, Alt-Svc, TLS, the layers' choice, replays) is not.
"""

from __future__ import annotations

from mitmproxy.addons import (
    anticache,
    anticomp,
    blocklist,
    maplocal,
    mapremote,
    modifybody,
    modifyheaders,
    onboarding,
    proxyauth,
    savehar,
    stickyauth,
    stickycookie,
    upstream_auth,
)
from mitmproxy.options import Options

# Each with the option that sets it to work.
OPTION_OF: dict[type, str] = {
    anticache.AntiCache: "anticache",
    anticomp.AntiComp: "anticomp",
    blocklist.BlockList: "block_list",
    maplocal.MapLocal: "map_local",
    mapremote.MapRemote: "map_remote",
    modifybody.ModifyBody: "modify_body",
    modifyheaders.ModifyHeaders: "modify_headers",
    onboarding.Onboarding: "onboarding",
    proxyauth.ProxyAuth: "proxyauth",
    savehar.SaveHar: "hardump",
    stickyauth.StickyAuth: "stickyauth",
    stickycookie.StickyCookie: "stickycookie",
    upstream_auth.UpstreamAuth: "upstream_auth",
}

# A flow's, and no others: what happens at a start, at the end and when options change always reaches them.
FLOW_EVENTS = frozenset({"requestheaders", "request", "responseheaders", "response", "http_connect", "error", "update"})


def rests(addon: object, event: str, options: Options) -> bool:
    """True where an addon's hook for the event would do nothing as the options are now."""
    option = OPTION_OF.get(type(addon))
    return option is not None and event in FLOW_EVENTS and not getattr(options, option)
