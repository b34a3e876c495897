"""Addresses as conditions see them: networks of clients, and servers by name or by network.

Rules of this file: a port is not looked at; an IPv4 address inside an IPv6 one counts as IPv4; nothing is
resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from policy.globs import compile_globs

type IPNetwork = IPv4Network | IPv6Network


def parse_network(value: object) -> IPNetwork:
    """From `10.0.0.0/8`, `2001:db8::/32` or a single address; ValueError else."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no network; write for example 10.0.0.0/8")
    try:
        return ip_network(value)
    except ValueError as bad:
        if "host bits" in str(bad):
            right = ip_network(value, strict=False)
            raise ValueError(f"{value!r} has host bits set; write {right}") from None
        raise ValueError(f"{value!r} is no network; write for example 10.0.0.0/8") from None


def parse_server(value: object) -> IPNetwork | str:
    """A network, or a glob on the server's name; ValueError else."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str) or not value or len(value) > 255:
        raise ValueError(f"{value!r} is no server; write a name, a glob (*.example.com) or a network")
    if "/" in value or value.replace(".", "").isdigit() or value.count(":") > 1:
        return parse_network(value)
    if ":" in value:
        raise ValueError(f"{value!r} has a port, which is not looked at; write the name alone")
    return value


type Network = Annotated[
    IPNetwork,
    BeforeValidator(parse_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "minLength": 2, "examples": ["10.0.0.0/8"]}),
]
type Server = Annotated[
    IPNetwork | str,
    BeforeValidator(parse_server),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["*.example.com", "10.0.0.0/8"]}),
]


@lru_cache(maxsize=4096)
def find_address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address in `address`, `address:port` or `[address]:port`; None where there is none."""
    for candidate in (text, host_of(text)):
        try:
            found = ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return mapped or found
    return None


def host_of(text: str) -> str:
    """`text` without a port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def compile_networks(networks: Iterable[IPNetwork]) -> Callable[[str], bool]:
    """A function that tells whether an address lies in any of the networks."""
    known = tuple(networks)

    @lru_cache(maxsize=4096)
    def lies_inside(text: str) -> bool:
        address = find_address(text)
        return address is not None and any(address in network for network in known)

    return lies_inside


def compile_servers(patterns: Iterable[IPNetwork | str]) -> Callable[[str], bool]:
    """A function that tells whether a server's name or address fits any of the patterns."""
    patterns = tuple(patterns)
    named = compile_globs(p for p in patterns if isinstance(p, str))
    inside = compile_networks(p for p in patterns if not isinstance(p, str))
    return lambda text: named(host_of(text).rstrip(".")) or inside(text)
