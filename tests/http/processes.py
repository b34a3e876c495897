"""The processes behind one `avsluice run`, as /proc tells of them (proc(5))."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Door:
    """One of several gateways, for those who take a `Proxy` to connect to."""

    port: int

    @property
    def address(self) -> str:
        """The proxy's URL, for curl's --proxy."""
        return f"http://127.0.0.1:{self.port}"


def workers(pid: int) -> list[int]:
    """The processes with gateways that the process started, oldest first."""
    started = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [one for one in started if "avsluice run" in command_line(one)]


def is_there(pid: int) -> bool:
    """False once it is gone, or dead and only waits for its parent."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def command_line(pid: int) -> str:
    """Its words."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def served(pid: int, port: int) -> int:
    """How many connections the process has accepted at that port of 127.0.0.1."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port and fields[3] == _ESTABLISHED:
            inodes.add(fields[9])
    mine = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            mine += match is not None and match[1] in inodes
    return mine


def refuses(port: int) -> bool:
    """True once nobody listens there any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
