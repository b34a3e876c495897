"""`avsluice top WHERE`: what is under way at this moment, in every gateway of a running policy.

Rules of this file: it asks `metrics.listen` and changes nothing; what peers chose is made visible; it takes a
screen only where it has one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import policy as sluice
from avsluice.table import align
from inspection.record import visible
from policy.address import Address
from policy.load import PolicyError
from policy.scalars import parse_positive_duration

_SIBLINGS = 64  # processes of one `avsluice run` that are looked for
_WITHIN = 5.0  # seconds for an answer
_MOST = 16 * 1024 * 1024  # bytes of it
_HEAD = ("PROXY", "CLIENT", "PHASE", "AGE", "RECEIVED", "SENT", "OBJECT")


class NoAnswer(OSError):
    """Nobody tells anything there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to ask, and how often."""
    parser.add_argument("where", metavar="WHERE", help="the policy file, or the address that its metrics.listen names")
    parser.add_argument("--every", type=_duration, default=1.0, metavar="TIME", help="how often, 1s")
    parser.add_argument(
        "--once", action="store_true", help="once, without taking the screen; so it is without a terminal"
    )
    parser.add_argument("--json", action="store_true", help="once, as one JSON array")


def _duration(text: str) -> float:
    try:
        return parse_positive_duration(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from why


def run(arguments: argparse.Namespace) -> int:
    """Shows it until interrupted; 0, or 2 where nobody answers."""
    try:
        address = find_address(arguments.where)
        transfers = fetch_all(address)
    except (PolicyError, ValueError, OSError) as why:
        print(visible(str(why)), file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(transfers))
    elif arguments.once or not sys.stdout.isatty():
        print("\n".join(spell(transfers)))
    else:
        _show_on(address, transfers, arguments.every)
    return 0


def find_address(where: str) -> Address:
    """Where the metrics are. ValueError where the policy has none, PolicyError where it is broken."""
    if Path(where).is_file():
        listen = sluice.load(Path(where)).metrics.listen
        if listen is None:
            raise ValueError(f"{where}: has no metrics.listen; give it one, and reload")
        return listen
    return Address.parse(where)


def fetch_all(address: Address) -> list[dict[str, Any]]:
    """Of all processes, the oldest first. NoAnswer where not even the first one tells."""
    found = _fetch(address)
    for number in range(1, _SIBLINGS):
        try:
            found += _fetch(_sibling(address, number))
        except OSError:
            break
    return sorted(found, key=lambda one: -_number(one.get("age")))


def _sibling(address: Address, number: int) -> Address:
    if address.unix is not None:
        return Address(unix=f"{address.unix}.{number}")
    return Address(host=address.host, port=address.port + number)


class _Connection(http.client.HTTPConnection):
    """HTTP over what an address names."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.host or "localhost", address.port or None, timeout=_WITHIN)
        self._address = address

    def connect(self) -> None:
        if self._address.unix is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_WITHIN)
        self.sock.connect(self._address.unix)


def _fetch(address: Address) -> list[dict[str, Any]]:
    link = _Connection(address)
    try:
        link.request("GET", "/transfers", headers={"Host": "localhost"})
        answer = link.getresponse()
        body = answer.read(_MOST)
        told = json.loads(body) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException) as why:
        raise NoAnswer(f"{address}: {getattr(why, 'strerror', None) or why}") from why
    finally:
        link.close()
    if not isinstance(told, list):
        raise NoAnswer(f"{address}: does not tell transfers (status {answer.status})")
    return [one for one in told if isinstance(one, dict)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def spell(transfers: list[dict[str, Any]], lines: int | None = None) -> Iterator[str]:
    """A head and a line each, no more than `lines` in all."""
    received = sum(int(_number(one.get("received"))) for one in transfers)
    yield f"{len(transfers)} under way, {received} bytes"
    shown = transfers if lines is None else transfers[: max(0, lines - 2)]
    yield from align([_HEAD, *map(_row, shown)])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    words = (one.get("proxy"), one.get("client"), one.get("phase"), f"{_number(one.get('age')):.1f}s")
    return tuple(
        visible(str(word if word is not None else "-"), 200)
        for word in (*words, one.get("received"), one.get("sent"), one.get("object"))
    )


def _show_on(address: Address, transfers: list[dict[str, Any]], every: float) -> None:
    """Draws until interrupted; where nobody answers for a while, it says so and goes on asking."""
    trouble = ""
    try:
        while True:
            size = shutil.get_terminal_size()
            rows = [trouble] if trouble else [line[: size.columns] for line in spell(transfers, size.lines - 1)]
            print("\x1b[H\x1b[2J" + "\n".join(rows), flush=True)
            time.sleep(every)
            try:
                transfers, trouble = fetch_all(address), ""
            except OSError as why:
                trouble = visible(str(why))
    except KeyboardInterrupt:
        print()
