"""TLS on both sides of a mail gateway: what its policy says, and what clients and servers trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def towards_clients(pem: dict[str, Path], mode: str) -> str:
    """The gateway's `tls`."""
    return f"tls: {{mode: {mode}, certificate: {pem['certificate']}, key: {pem['key']}}}\n"


def towards_server(pem: dict[str, Path], mode: str) -> str:
    """The gateway's `server-tls`."""
    return f"server-tls: {{mode: {mode}, ca: {pem['ca']}}}\n"


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def serving(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context
