"""Addresses of data connections as FTP writes them (RFC 959 PORT and PASV, RFC 2428 EPRT and EPSV).

Rules of this file: no I/O; what does not follow the grammar is a ValueError; an IPv4 address inside an IPv6 one counts
as IPv4.
"""

from __future__ import annotations

import ipaddress
import re


def plain_ip(text: str) -> str:
    """One form for each address: no zone, no IPv4 inside IPv6."""
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def is_ip4(text: str) -> bool:
    """True where PASV and PORT can name it."""
    return ipaddress.ip_address(plain_ip(text)).version == 4


def parse_port(argument: str) -> tuple[str, int]:
    """PORT's argument."""
    if not re.fullmatch(r"\d{1,3}(,\d{1,3}){5}", argument, re.ASCII):
        raise ValueError("PORT takes h1,h2,h3,h4,p1,p2")
    numbers = [int(number) for number in argument.split(",")]
    if max(numbers) > 255:
        raise ValueError("PORT takes numbers up to 255")
    return ".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5]


def parse_eprt(argument: str) -> tuple[str, int]:
    """EPRT's argument."""
    mark = argument[:1]
    parts = argument.split(mark) if mark else []
    if len(parts) != 5 or not 33 <= ord(mark) <= 126 or parts[0] or parts[4]:
        raise ValueError("EPRT takes |1|address|port| or |2|address|port|")
    _, family, host, port, _ = parts
    if family not in ("1", "2") or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError("EPRT takes |1|address|port| or |2|address|port|")
    address = ipaddress.ip_address(host)
    if address.version != (4 if family == "1" else 6):
        raise ValueError("EPRT's address is of another family")
    return plain_ip(host), int(port)


def format_port(host: str, port: int) -> str:
    """PORT's argument, and what stands in PASV's parentheses."""
    return f"{plain_ip(host).replace('.', ',')},{port >> 8},{port & 255}"


def format_eprt(host: str, port: int) -> str:
    """EPRT's argument."""
    return f"|{1 if is_ip4(host) else 2}|{plain_ip(host)}|{port}|"


def parse_pasv_reply(message: str) -> int:
    """The port of a 227, with or without parentheses. The address is never looked at."""
    match = re.search(r"(?<![\d,])\d{1,3}(?:,\d{1,3}){5}(?![\d,])", message, re.ASCII)
    if match is None:
        raise ValueError("the server's reply to PASV names no port")
    return _port(parse_port(match[0])[1])


def parse_epsv_reply(message: str) -> int:
    """The port of a 229. Filled fields are not looked at."""
    match = re.search(r"\(([!-~])[^()]*?\1[^()]*?\1(\d{1,5})\1\)", message, re.ASCII)
    if match is None:
        raise ValueError("the server's reply to EPSV names no port")
    return _port(int(match[2]))


def _port(number: int) -> int:
    if not 0 < number < 65536:
        raise ValueError("the server names no possible port")
    return number
