"""Debian's c-icap with virus_scan and clamd_mod, run with a configuration of our own, as a fixture.

Rules of this file: the real thing or nothing; each server has a directory and ports of its own on loopback and is ended
with the test session; where c-icap or its virus_scan is not installed the tests are left out and counted.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policy.address import Address
from tests.real.ports import free_port

_START_WITHIN = 20.0
_PLACES = (Path("/usr/lib"), Path("/usr/local/lib"))
_DEFAULTS = {
    "Timeout": "60",
    "MaxKeepAliveRequests": "100",
    "KeepAliveTimeout": "60",
    "StartServers": "1",
    "MaxServers": "2",
    "MinSpareThreads": "4",
    "MaxSpareThreads": "40",
    "ThreadsPerChild": "20",
    "MaxMemObject": "131072",
    "DebugLevel": "1",
    "Pipelining": "on",
    "TemplateDir": "/usr/share/c_icap/templates/",
    "virus_scan.ScanFileTypes": "TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE",
    "virus_scan.SendPercentData": "5",
    "virus_scan.StartSendPercentDataAfter": "2M",
    "virus_scan.MaxObjectSize": "5M",
}


def find_modules() -> Path | None:
    """The directory of c-icap's modules, virus_scan and clamd_mod among them; or None."""
    found = (path.parent for place in _PLACES for path in place.glob("**/c_icap/virus_scan.so"))
    return next((path for path in found if (path / "clamd_mod.so").exists()), None)


def find_c_icap() -> str | None:
    """Where c-icap is installed, or None where it or what it needs is missing."""
    program = shutil.which("c-icap", path=os.environ.get("PATH", "") + ":/usr/local/bin:/usr/sbin")
    return program if program and find_modules() else None


@dataclass
class CIcapServer:
    """A running c-icap whose virus_scan asks the clamd on the Unix socket `clamd`.

    `settings` is what differs from the defaults above, which are Debian's but for fewer processes. Services:
    /virus_scan, and /avscan with `allow204=on&sizelimit=off&mode=simple`. With `tls`, a PEM file of certificate and
    key, it listens on `icaps`, too."""

    clamd: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    tls: Path | None = None

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="c-icap-", dir="/tmp"))
        self.tcp = Address(host="127.0.0.1", port=free_port())
        self.icaps = Address(host="127.0.0.1", port=free_port())
        (self.directory / "tmp").mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        config = self.directory / "c-icap.conf"
        config.write_text("".join(f"{line}\n" for line in self._lines()))
        program = find_c_icap()
        assert program is not None
        with (self.directory / "output").open("wb") as output:
            # A session of its own: its children are ended with it, whatever state it is in.
            self._process = subprocess.Popen(
                [program, "-N", "-f", str(config)], stdout=output, stderr=output, start_new_session=True
            )
        self._await_options(self._process)

    def _lines(self) -> Iterator[str]:
        modules = find_modules()
        yield from (f"{key} {value}" for key, value in {**_DEFAULTS, **self.settings}.items() if "." not in key)
        yield f"PidFile {self.directory}/pid"
        yield f"CommandsSocket {self.directory}/ctl"
        yield f"Port {self.tcp}"
        if self.tls is not None:
            yield f"TlsPort {self.icaps} tls-method=TLSv1_2 cert={self.tls} key={self.tls}"
        yield f"User {pwd.getpwuid(os.getuid()).pw_name}"
        yield f"TmpDir {self.directory}/tmp"
        yield f"ServerLog {self.directory}/log"
        yield f"ModulesDir {modules}"
        yield f"ServicesDir {modules}"
        yield "LoadMagicFile /etc/c-icap/c-icap.magic"
        yield "Service antivirus_module virus_scan.so"
        yield "ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple"
        yield from (f"{key} {value}" for key, value in {**_DEFAULTS, **self.settings}.items() if "." in key)
        yield "virus_scan.DefaultEngine clamd"
        yield "Module common clamd_mod.so"
        yield f"clamd_mod.ClamdSocket {self.clamd}"

    def _await_options(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not self.options().startswith(b"ICAP/1.0 200"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("c-icap did not start:\n" + self.log())
            time.sleep(0.02)

    def options(self) -> bytes:
        """The beginning of its answer to OPTIONS; b"" where nobody answers."""
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.settimeout(5)
            sock.connect((self.tcp.host, self.tcp.port))
            sock.sendall(b"OPTIONS icap://127.0.0.1/avscan ICAP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return sock.recv(4096)
        return b""

    def log(self) -> str:
        """What it wrote so far."""
        files = [self.directory / "output", self.directory / "log"]
        return "\n".join(f.read_text(errors="replace") for f in files if f.exists())

    def signal(self, number: signal.Signals) -> None:
        """To it and its children, e.g. SIGSTOP; SIGKILL is followed by nothing: call `start` for a new one."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """Ends it and removes its directory."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def run_c_icap(
    clamd: Path, settings: Mapping[str, str] | None = None, *, tls: Path | None = None
) -> Iterator[CIcapServer]:
    """A c-icap for the time of the block."""
    server = CIcapServer(clamd, settings or {}, tls)
    try:
        server.start()
        yield server
    finally:
        server.stop()
