"""Where something listens: host and port, or a Unix socket.

Rules of this file: an address is parsed once and never resolved here; `str()` gives back what was written.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_PORT = re.compile(r"\d{1,5}", re.ASCII)
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket's absolute path, or host and port."""

    unix: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.unix is not None:
            return self.unix
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: object, default_port: int | None = None) -> Address:
        """From `host:port`, `[::1]:port` or an absolute path; no port only where there is a default."""
        if isinstance(text, Address):
            return text
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not an address; write host:port, [::1]:port or /path/to/socket")
        if text.startswith("/"):
            return cls(unix=_socket_path(text))
        host, port = _split_port(text, default_port)
        return cls(host=_host(host, text), port=port)


def _socket_path(text: str) -> str:
    # sun_path holds 108 bytes with its NUL on Linux: a longer one could never be connected to.
    if len(text.encode()) > 107 or any(ord(c) < 32 for c in text):
        raise ValueError("this path is no Unix socket's: at most 107 bytes, no control characters")
    return text


def _split_port(text: str, default_port: int | None) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError(f"{text!r} lacks the closing bracket; write [::1]:port")
    elif text.count(":") > 1:
        raise ValueError(f"{text!r} is an IPv6 address without brackets; write [{text}]:port")
    else:
        host, colon, port = text.partition(":")
        rest = colon + port
    if not rest and default_port is not None:
        return host, default_port
    port = rest.removeprefix(":")
    if not rest.startswith(":") or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{text!r} lacks a port from 0 to 65535; write host:port")
    return host, int(port)


def _host(host: str, text: str) -> str:
    if text.startswith("[") or ":" in host:
        _refuse_unless(ipaddress.IPv6Address, host)
    elif not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError(f"{text!r} names no host; write host:port, [::1]:port or /path/to/socket")
    elif host.rpartition(".")[2].isdigit():
        _refuse_unless(ipaddress.IPv4Address, host)
    return host


def _refuse_unless(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], host: str) -> None:
    try:
        kind(host)
    except ValueError:
        raise ValueError(f"{host!r} is no IP address; write for example 127.0.0.1:port or [::1]:port") from None
