"""The gateways to be compared, each started with a configuration of its own on loopback and ended by its id.

Rules of this file: all before one clamd; none keeps bodies or writes an access log but Sluice, which writes its audit
records to a file; what is not installed is left out by whoever asks.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.http.proxy import MITMDUMP
from tests.real.c_icap_server import find_c_icap, run_c_icap

NAIVE = Path(__file__).with_name("naive_addon.py")
E2GUARDIAN = Path("/etc/e2guardian")
INTERVAL = 1.0  # of the trickle, seconds

POLICY = """\
antivirus:
  CLAMD: {{protocol: clamav-net, address: {clamd}, timeout: 60s, max-checked-size: 600MB}}
audit: {{to: {folder}/audit.log}}
http-proxy:
  HTTP:
    listen: 127.0.0.1:{port}
    doc-acl:
      - {{name: ALL, antivirus: [CLAMD], interval: {interval}s, chunk: 2000, limit: 64KiB}}
"""

SQUID = """\
http_port 127.0.0.1:{port}
acl all_methods method GET
http_access allow all
cache deny all
cache_mem 0 MB
memory_pools off
access_log none
cache_log {folder}/cache.log
cache_store_log none
pid_filename none
coredump_dir {folder}
netdb_filename none
shutdown_lifetime 1 seconds
icap_enable on
icap_persistent_connections on
icap_preview_enable on
icap_preview_size 1024
icap_service av respmod_precache icap://{icap}/avscan bypass=off
adaptation_access av allow all
"""

E2G = {
    "filterip": "127.0.0.1",
    "loglevel": "0",
    "httpworkers": "100",
    "maxcontentfilecachescansize": "200000",
    "weightedphrasemode": "0",
    "contentscanner": "'{folder}/clamdscan.conf'",
    "filterports": "{port}",
    "transparenthttpsport": "{other}",
    "filecachedir": "'{folder}'",
    "loglocation": "'{folder}/access.log'",
    "pidfilename": "'{folder}/pid'",
    "daemonuser": "'{user}'",
    "daemongroup": "'{user}'",
    "nologger": "on",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that listens on `port`; `pids` are the processes that were started for it, `port` 0 is none."""

    name: str
    port: int
    pids: tuple[int, ...]

    def processor_time(self) -> float:
        """Seconds that its processes and their children have used so far."""
        return sum(map(processor_time, family(self.pids)))


def processor_time(pid: int) -> float:
    """Seconds of processor time of a process, by its clock (clock_getcpuclockid(3) tells how it is numbered)."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def family(pids: Sequence[int]) -> set[int]:
    """The processes and all that descend from them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@contextlib.contextmanager
def run(command: Sequence[str], port: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process that listens on the port from the beginning of the block on; its id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    try:
        deadline = time.monotonic() + 30
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Whether somebody accepts there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def stock(folder: Path, clamd: Path) -> Iterator[Peer]:
    """mitmdump as it is: no check at all."""
    with mitmdump(folder, ()) as (port, pid):
        yield Peer("stock mitmdump, no check", port, (pid,))


@contextlib.contextmanager
def naive(folder: Path, clamd: Path) -> Iterator[Peer]:
    """The addon that one would write first."""
    with mitmdump(folder, ("-s", str(NAIVE)), {"NAIVE_CLAMD": str(clamd)}) as (port, pid):
        yield Peer("naive addon", port, (pid,))


@contextlib.contextmanager
def mitmdump(folder: Path, more: Sequence[str], env: dict[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """A mitmdump with those arguments: its port and its id."""
    port = free_port()
    command = [str(MITMDUMP), "-q", "--listen-host", "127.0.0.1", "--listen-port", str(port), *more]
    with run([*command, "--set", f"confdir={folder / 'mitmproxy'}"], port, folder / "log", env) as pid:
        yield port, pid


@contextlib.contextmanager
def sluice(folder: Path, clamd: Path, workers: int = 1, more: Sequence[str] = ()) -> Iterator[Peer]:
    """`avsluice run` with so many workers."""
    policy, port = folder / "policy.yaml", free_port()
    policy.write_text(POLICY.format(clamd=clamd, folder=folder, port=port, interval=INTERVAL))
    command = [sys.executable, "-m", "avsluice", "run", str(policy), "--allow-root", *more]
    command += ["--set", f"confdir={folder / 'mitmproxy'}"]
    command += ["--workers", str(workers)] if workers > 1 else []
    with run(command, port, folder / "log") as pid:
        ready(folder / "log")
        yield Peer(f"Sluice, {workers} worker{'s' if workers > 1 else ''}", port, (pid,))


def ready(log: Path) -> None:
    """Wait until Sluice says so: it disconnects whom it cannot serve yet."""
    deadline = time.monotonic() + 30
    while not re.search(r"^ready ", log.read_text(errors="replace"), re.MULTILINE):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Sluice is not ready:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


@contextlib.contextmanager
def squid(folder: Path, clamd: Path) -> Iterator[Peer]:
    """squid with c-icap's virus_scan behind it."""
    port, user = free_port(), "proxy"
    give(folder, user)
    with run_c_icap(clamd, {"virus_scan.MaxObjectSize": "200M", "virus_scan.SendPercentData": "0"}) as icap:
        config = folder / "squid.conf"
        config.write_text(SQUID.format(port=port, folder=folder, icap=icap.tcp))
        assert icap._process is not None
        with run(["squid", "-N", "-f", str(config)], port, folder / "log") as pid:
            yield Peer("squid + c-icap", port, (pid, icap._process.pid))


@contextlib.contextmanager
def e2guardian(folder: Path, clamd: Path) -> Iterator[Peer]:
    """e2guardian with its clamd scanner, without its phrase lists' weights."""
    port, user = free_port(), "e2guardian"
    give(folder, user)
    (folder / "clamdscan.conf").write_text(f"plugname = 'clamdscan'\nclamdudsfile = '{clamd}'\n")
    values = {name: value.format(folder=folder, port=port, other=free_port(), user=user) for name, value in E2G.items()}
    packaged = (E2GUARDIAN / "e2guardian.conf").read_text()
    kept = [line for line in packaged.splitlines() if line.partition("=")[0].strip(" #") not in values]
    config = folder / "e2guardian.conf"
    shutil.copy(E2GUARDIAN / "e2guardianf1.conf", folder)
    config.write_text("\n".join(kept + [f"{name} = {value}" for name, value in values.items()]) + "\n")
    with run(["e2guardian", "-N", "-c", str(config)], port, folder / "log") as pid:
        yield Peer("e2guardian", port, (pid,))


def give(folder: Path, user: str) -> None:
    """The folder belongs to the user that a daemon drops to, where it can."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)


def has_squid() -> bool:
    """Whether squid and c-icap are installed."""
    return bool(shutil.which("squid") and find_c_icap())


def has_e2guardian() -> bool:
    """Whether e2guardian is installed."""
    return bool(shutil.which("e2guardian") and E2GUARDIAN.exists())


@contextlib.contextmanager
def folders() -> Iterator[Iterator[Path]]:
    """As many folders as are asked for, which daemons may enter; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
        base = Path(name)
        base.chmod(0o755)

        def make() -> Iterator[Path]:
            for number in range(100):
                folder = base / str(number)
                folder.mkdir(mode=0o755)
                yield folder

        yield make()
