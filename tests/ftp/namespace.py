"""Two private networks for transparent mode: a gateway's, with the server's addresses, and a client's behind it.

Rules of this file: Linux, root and iptables, or nothing; each network lives as long as a process of its own, which is
ended by its id; the rules are those that docs/ftp.md gives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.patience import wait_until

PASSIVE = "40000:40100"
SERVER4, SERVER6 = "192.0.2.10", "2001:db8::10"
INSIDE4, INSIDE6 = "198.51.100.1", "2001:db8:1::1"


def find_obstacle() -> str | None:
    """Why there can be no such networks here; None where there can."""
    if os.geteuid() != 0:
        return "private networks need root"
    if missing := [name for name in ("unshare", "nsenter", "ip", "iptables", "ip6tables") if not shutil.which(name)]:
        return f"{', '.join(missing)} not installed"
    probe = ["unshare", "--net", "iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "-j", "REDIRECT"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    return f"the kernel redirects nothing: {done.stderr.strip()}" if done.returncode else None


@dataclass(frozen=True, slots=True)
class Network:
    """One network, `process` keeps it."""

    process: subprocess.Popen[bytes]

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that is to run in it."""
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def run(self, line: str) -> str:
        """One command's output; it must succeed."""
        done = subprocess.run([*self.prefix, *line.split()], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


@contextlib.contextmanager
def open_networks() -> Iterator[tuple[Network, Network]]:
    """The gateway's and the client's. The client's way to everything leads through the gateway's."""
    with contextlib.ExitStack() as stack:
        inside, client = (stack.enter_context(_open()) for _ in range(2))
        inside.run(f"ip link add in0 type veth peer name out0 netns {client.process.pid}")
        for address in (SERVER4, SERVER6):
            inside.run(f"ip addr add {address} dev lo")
        for network, link, last in ((inside, "in0", "1"), (client, "out0", "2")):
            network.run("ip link set lo up")
            network.run(f"ip addr add 198.51.100.{last}/24 dev {link}")
            network.run(f"ip addr add 2001:db8:1::{last}/64 dev {link} nodad")
            network.run(f"ip link set {link} up")
        client.run(f"ip route add default via {INSIDE4}")
        client.run(f"ip -6 route add default via {INSIDE6}")
        for tables, port in (("iptables", 2121), ("ip6tables", 2122)):
            inside.run(f"{tables} -t nat -A PREROUTING -p tcp --dport 21 -j REDIRECT --to-ports {port}")
            inside.run(f"{tables} -t nat -A PREROUTING -p tcp --dport {PASSIVE} -j REDIRECT")
        yield inside, client


@contextlib.contextmanager
def _open() -> Iterator[Network]:
    process = subprocess.Popen(["unshare", "--net", "sleep", "600"], start_new_session=True)
    ours = os.readlink("/proc/self/ns/net")
    try:
        there = Path(f"/proc/{process.pid}/ns/net")
        assert wait_until(lambda: os.readlink(there) != ours, 5)
        yield Network(process)
    finally:
        process.kill()
        process.wait()
