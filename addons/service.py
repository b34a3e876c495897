"""What one http-proxy of a policy asks of mitmproxy, as its options.

Rules of this file: no mitmproxy is needed to say it; what the policy asks for and we cannot do is refused, never done
in part.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspection.host import CannotServe
from policy.address import Address
from policy.model import HttpProxy

FIXED = ("listen", "tls", "server", "server_tls", "user")
"""Items of an http-proxy that a reload does not change: they have become mitmproxy's options."""

_OURS = frozenset({"av_policy", "av_proxy", "listen_host", "listen_port", "server"})


@dataclass(frozen=True, slots=True)
class Service:
    """What is to be served. `settings` are further options of mitmproxy's, as NAME=VALUE. `at` is listened on instead
    of the policy's address, together with others (SO_REUSEPORT)."""

    file: Path
    name: str
    proxy: HttpProxy
    settings: Sequence[str] = ()
    at: Address | None = None


def choose_options(service: Service) -> dict[str, object]:
    """mitmproxy's options for an http-proxy. Raises CannotServe."""
    proxy, address = service.proxy, service.at or service.proxy.listen
    why = next(_find_obstacles(service), None)
    if why is not None or address is None:
        raise CannotServe(f"http-proxy.{service.name}: {why}")
    options: dict[str, object] = {
        "av_policy": str(service.file),
        "av_proxy": service.name,
        "listen_host": address.host,
        "listen_port": address.port,
        "ssl_insecure": not proxy.server_tls.verify,
    }
    if proxy.server_tls.ca is not None:
        options["ssl_verify_upstream_trusted_ca"] = str(proxy.server_tls.ca)
    if proxy.server:
        scheme = "https" if proxy.server_tls.mode == "implicit" else "http"
        options["mode"] = [f"reverse:{scheme}://{proxy.server[0]}"]
    return options


def _find_obstacles(service: Service) -> Iterator[str]:
    proxy = service.proxy
    if proxy.listen is None:
        yield "has no listen; write for example listen: 127.0.0.1:8080"
    elif proxy.listen.unix is not None:
        yield f"listen {proxy.listen}: HTTP listens on host:port only"
    if proxy.tls.mode != "none":
        yield "tls towards the client is not built yet; nothing is served in the clear instead"
    if proxy.server and len(proxy.server) > 1:
        yield "several servers are not built yet; name one"
    if proxy.server and proxy.server[0].unix is not None:
        yield f"server {proxy.server[0]}: HTTP reaches host:port only"
    if proxy.user is not None:
        try:
            pwd.getpwnam(proxy.user)
        except KeyError:
            yield f"user {proxy.user}: there is no such user"
    for setting in service.settings:
        if (name := setting.partition("=")[0]) in _OURS:
            yield f"--set {name}: the policy and the command line rule here"
