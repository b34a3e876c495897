"""The policies that the tests run a gateway with, as YAML text.

Rules of this file: a policy says only what its test is about; intervals are 0.2 s and chunks 2000 bytes, so
that a trickle is seen within a second.
"""

from __future__ import annotations

from textwrap import indent

INTERVAL = 0.2
CHUNK = 2000
LIMIT = 10000

TRICKLE = f"""\
interval: {int(INTERVAL * 1000)}ms
chunk: {CHUNK}
limit: {LIMIT}
"""


def builtin(**items: str) -> str:
    """An antivirus section: the engine of our own, which finds EICAR."""
    return section("builtin", **items)


def clamav(address: object, **items: str) -> str:
    """An antivirus section: clamd at a port of 127.0.0.1 or a socket's path; no canary amid a test."""
    place = f"127.0.0.1:{address}" if isinstance(address, int) else str(address)
    # 1 MiB: the proof at the start covers it, so that no further probe meets a test's delay.
    quiet = {"canary": "off", "max_checked_size": "1MiB"}
    return section("clamav-net", address=place, **{**quiet, **items})


def section(protocol: str, **items: str) -> str:
    """One antivirus section named AV; in item names `_` stands for `-`."""
    lines = [f"protocol: {protocol}", *(f"{key.replace('_', '-')}: {value}" for key, value in items.items())]
    return "antivirus:\n  AV:\n" + indent("\n".join(lines) + "\n", "    ")


def checked(antivirus: str, acl: str = "", *, top: str = "", before: str = "", gateway: str = "") -> str:
    """A policy with one http-proxy in which AV checks everything.

    `acl` are further items of that ACL, `before` whole ACLs in front of it, `gateway` further items of the
    http-proxy, `top` further top-level items."""
    item = "name: CHECKED\nantivirus: [AV]\n" + acl
    listed = before + "- " + indent(item, "  ")[2:]
    proxy = "listen: 127.0.0.1:8080\n" + gateway + "doc-acl:\n" + indent(listed, "  ")
    return antivirus + top + "http-proxy:\n  HTTP:\n" + indent(proxy, "    ")
