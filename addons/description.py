"""A flow in the policy's words.

Rules of this file: what the peer may have forged is passed on as it stands and believed by nobody; a length is
told only where it is that of the bytes which an engine would get.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from email.message import Message
from urllib.parse import unquote

from mitmproxy import http
from mitmproxy.proxy import mode_specs

from policy.facts import ObjectFacts

_NAME_LIMIT = 255
# Modes in which the target comes as an address, and its name from the Host header alone.
_WITHOUT_NAMES = (
    mode_specs.TransparentMode,
    mode_specs.Socks5Mode,
    mode_specs.LocalMode,
    mode_specs.WireGuardMode,
    mode_specs.TunMode,
)


def describe_download(flow: http.HTTPFlow) -> ObjectFacts:
    """The response's body."""
    response = flow.response
    headers = response.headers if response else http.Headers()
    return _describe(flow, headers, upload=False)


def describe_upload(flow: http.HTTPFlow) -> ObjectFacts:
    """The request's body."""
    return _describe(flow, flow.request.headers, upload=True)


def _describe(flow: http.HTTPFlow, headers: http.Headers, *, upload: bool) -> ObjectFacts:
    request = flow.request
    peer = flow.client_conn.peername
    # Whoever names the target in the request itself could name another one in the Host header.
    only_address = isinstance(flow.client_conn.proxy_mode, _WITHOUT_NAMES)
    return ObjectFacts(
        direction="upload" if upload else "download",
        client=peer[0] if peer else None,
        user=_user(flow),
        server=f"[{request.host}]:{request.port}" if ":" in request.host else f"{request.host}:{request.port}",
        at=datetime.now().astimezone(),
        method=request.method,
        url=request.pretty_url if only_address else request.url,
        host=request.pretty_host if only_address else request.host,
        content_type=headers.get("content-type"),
        filename=_filename(headers, request.path),
        size=None if "content-encoding" in headers else announced_length(headers),
    )


def announced_length(headers: http.Headers) -> int | None:
    """The Content-Length, None where there is none that can be believed."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _user(flow: http.HTTPFlow) -> str | None:
    """Who logged in at the proxy (mitmproxy's proxyauth keeps name and password; the name is all we take)."""
    credentials = flow.metadata.get("proxyauth")
    return str(credentials[0]) if credentials else None


def _filename(headers: http.Headers, path: str) -> str | None:
    disposition = headers.get("content-disposition")
    name = _disposition_filename(disposition) if disposition else None
    name = name or unquote(path.partition("?")[0].rpartition("/")[2])
    return name[-_NAME_LIMIT:] or None


def _disposition_filename(value: str) -> str | None:
    message = Message()
    message["content-disposition"] = value[:4096]
    name = message.get_filename()
    return name.replace("\\", "/").rpartition("/")[2] if name else None


def is_loopback(address: str) -> bool:
    """True for addresses that only this machine reaches."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
