"""Targets that nobody reaches through the gateway: the gateway itself, and link-local addresses.

Rules of this file: pure but for asking the kernel whether an address is this machine's; every spelling of an address
that the system's resolver takes for one is read as that address; a name is judged again by what it was connected to.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))

_ANYWHERE = ("", "0.0.0.0", "::", "*")  # noqa: S104 - these are compared with, nothing is bound


def find_refusal(host: str, port: int, own: Iterable[tuple[str, int]]) -> str | None:
    """Why a target is refused, or None. `own` are the addresses that the gateway listens on."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    address = parse_address(name)
    if address is not None and address.is_link_local:
        return "a link-local address is no target"
    for own_host, own_port in own:
        if own_port == port and _is_same(name, address, own_host.lower()):
            return "the gateway itself is no target"
    return None


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """The address that a text is, also in the old spellings (`127.1`, `0x7f000001`, `2130706433`), or None."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return _parse_old_spelling(text)
    return address if isinstance(address, ipaddress.IPv4Address) else _find_embedded(address) or address


def _find_embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which an IPv6 one is translated on its way: mapped, 6to4, NAT64 (RFC 6052), and the older
    forms. `::1` and `::` are no such ones."""
    if (found := address.ipv4_mapped or address.sixtofour) is not None:
        return found
    last = int(address) & 0xFFFFFFFF
    embeds = any(address in network for network in _EMBEDDING) and last > 0xFFFF
    return ipaddress.IPv4Address(last) if embeds else None


def _parse_old_spelling(text: str) -> Address | None:
    if not text[:1].isdigit():
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def _is_same(name: str, address: Address | None, own_host: str) -> bool:
    if name == own_host:
        return True
    if address is None:
        ours = (socket.gethostname().lower(),) if own_host in _ANYWHERE else ()
        return name == "localhost" or name.endswith(".localhost") or name in ours
    own_address = parse_address(own_host)
    if own_host not in _ANYWHERE and own_address is not None and not own_address.is_unspecified:
        # On Linux every loopback address and the unspecified one lead to what listens on 127.0.0.1, or past it.
        return address == own_address or (own_address.is_loopback and (address.is_loopback or address.is_unspecified))
    return address.is_loopback or address.is_unspecified or _is_local(address)


def _is_local(address: Address) -> bool:
    """Whether it is this machine's: nothing can be bound to any other one. No traffic is caused by asking."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
