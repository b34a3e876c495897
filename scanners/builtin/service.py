"""Inside the worker process: what is known, and one object after the other.

Rules of this file: one socket, one question at a time, one line for each; a word that comes during a search, or the
end of the socket, ends the search; nothing outlives the one who asks.

An order is nine bytes: what, and a size; `KNOW` and `SCAN` bring a descriptor.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import NamedTuple

from policy.verdict import Status
from scanners.builtin.budget import Budget
from scanners.builtin.replies import READY, encode
from scanners.builtin.stream import Signatures
from scanners.builtin.walk import Rules, Walk
from scanners.engine import Answer

KNOW, SCAN, STOP = b"K", b"S", b"X"
ORDER = struct.Struct("!cQ")

_MEMORY = 1 << 30
"""Bytes of its own that the process may have: twelve nested LZMA decompressors and a million digests fit."""

_PR_SET_PDEATHSIG = 1


class _Order(NamedTuple):
    what: bytes
    size: int
    descriptor: int | None


class Descriptor:
    """An object behind a descriptor, which is the caller's to close."""

    def __init__(self, number: int, size: int) -> None:
        self._number = number
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return os.pread(self._number, size, offset)

    def fileno(self) -> int:
        """The number."""
        return self._number


def main() -> None:
    """Serves on standard input until the other side ends."""
    confine()
    with socket.socket(fileno=0) as asker, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(asker)


def confine() -> None:
    """This process dies with the one that started it, leaves signals from a terminal to it, dumps no core with
    somebody's mail in it, and takes only so much memory."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # Elsewhere, and where the other side died before this line, the end of the socket tells.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def serve(asker: socket.socket) -> None:
    """Learns, says so, and answers until nobody asks."""
    signatures, rules = Signatures(), None
    while (order := _next_order(asker)) is not None:
        if order.what == STOP or order.descriptor is None:
            continue  # came too late: the answer was under way
        file = Descriptor(order.descriptor, order.size)
        try:
            if order.what == KNOW:
                signatures, rules = _learn(file)
                reply = READY
            else:
                budget = Budget(stopped=lambda: _is_spoken_to(asker))
                reply = encode(_scan(Walk(signatures, budget, rules), file))
        finally:
            # Before the answer: after it the object's owner may want its room back.
            os.close(order.descriptor)
        asker.sendall(reply)


def _next_order(asker: socket.socket) -> _Order | None:
    record, descriptors, _, _ = socket.recv_fds(asker, ORDER.size, 1)
    while record and len(record) < ORDER.size:
        part = asker.recv(ORDER.size - len(record))
        record = record + part if part else b""
    if not record:
        return None
    what, size = ORDER.unpack(record)
    return _Order(what, size, descriptors[0] if descriptors else None)


def _learn(file: Descriptor) -> tuple[Signatures, Rules | None]:
    """A line of JSON with the digests, and behind it the compiled rules, if any."""
    line, _, compiled = file.read(0, file.size).partition(b"\n")
    signatures = Signatures(json.loads(line)["hashes"])
    if not compiled:
        return signatures, None
    from scanners.builtin.yara import Matcher  # an extra, and 13 MB

    return signatures, Matcher(compiled)


def _scan(walk: Walk, file: Descriptor) -> Answer:
    try:
        return walk.scan(file)
    except OSError as why:
        return Answer(Status.ERROR, detail=f"the object cannot be read: {why}")
    except MemoryError:
        return Answer(Status.ERROR, detail="searching it takes too much memory")


def _is_spoken_to(asker: socket.socket) -> bool:
    """Also where the other side is gone."""
    try:
        asker.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True
