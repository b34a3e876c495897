"""Debian's clamd, run with signatures and limits of our own, as a fixture.

Rules of this file: the real thing or nothing; each server has a directory, a socket and a port of its own and is
ended with the test session; where clamd is not installed the tests are left out and counted.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from scanners.specimens import EICAR
from tests.real.ports import free_port

TESTFILES = Path("/usr/share/clamav-testfiles")
_START_WITHIN = 60.0
_DEFAULTS = {
    "MaxThreads": "8",
    "MaxQueue": "100",
    "StreamMaxLength": "200M",
    "MaxFileSize": "200M",
    "MaxScanSize": "400M",
    "AlertExceedsMax": "yes",
    "AlertEncrypted": "yes",
    "CommandReadTimeout": "5",
    "ReadTimeout": "5",
    "SelfCheck": "0",
    "DisableCache": "yes",
}


def find_clamd() -> str | None:
    """Where clamd is installed, or None."""
    return shutil.which("clamd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@dataclass
class ClamdServer:
    """A running clamd: `unix` and `tcp` are its addresses, `settings` what differs from the defaults above.

    `anchored`: EICAR is known at the start of a file only, as in ClamAV's own database."""

    settings: Mapping[str, str] = field(default_factory=dict)
    anchored: bool = False

    def __post_init__(self) -> None:
        # Unix socket names are short: pytest's own temporary directories may not be.
        self.directory = Path(tempfile.mkdtemp(prefix="clamd-", dir="/tmp"))
        self.unix = Address(unix=str(self.directory / "socket"))
        self.tcp = Address(host="127.0.0.1", port=free_port())
        self.temporary = self.directory / "tmp"
        self.database = self.directory / "db"
        for made in (self.temporary, self.database):
            made.mkdir()
        self._write_signatures()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        settings = {
            "LocalSocket": str(self.unix),
            "TCPAddr": self.tcp.host,
            "TCPSocket": str(self.tcp.port),
            "DatabaseDirectory": str(self.database),
            "TemporaryDirectory": str(self.temporary),
            "LogFile": str(self.directory / "log"),
            "Foreground": "yes",
            "User": pwd.getpwuid(os.getuid()).pw_name,
            **_DEFAULTS,
            **self.settings,
        }
        config = self.directory / "clamd.conf"
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        clamd = find_clamd()
        assert clamd is not None
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen([clamd, "-c", str(config)], stdout=output, stderr=output)
        self._await_pong(self._process)

    def _await_pong(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while self.command(b"PING") != b"PONG\0":
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("clamd did not start:\n" + self.log())
            time.sleep(0.02)

    def log(self) -> str:
        """What it wrote so far."""
        files = [self.directory / "output", self.directory / "log"]
        return "\n".join(f.read_text(errors="replace") for f in files if f.exists())

    def command(self, command: bytes) -> bytes:
        """A command's whole reply; b"" where nobody answers."""
        reply = b""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.unix))
            sock.sendall(b"z" + command + b"\0")
            while part := sock.recv(4096):
                reply += part
        return reply

    def signal(self, number: signal.Signals) -> None:
        """E.g. SIGSTOP; SIGKILL is followed by nothing: call `start` for a new one."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """Ends it and removes its directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write_signatures(self) -> None:
        place = "0" if self.anchored else "*"
        (self.database / "test.ndb").write_text(f"Eicar-Test:0:{place}:{EICAR.hex()}\n")
        sample = TESTFILES / "clam.exe"
        if sample.exists():
            data = sample.read_bytes()
            line = f"{hashlib.sha256(data).hexdigest()}:{len(data)}:Clam-Test\n"
            (self.database / "test.hsb").write_text(line)


@contextlib.contextmanager
def run_clamd(settings: Mapping[str, str] | None = None, *, anchored: bool = False) -> Iterator[ClamdServer]:
    """A clamd for the time of the block."""
    server = ClamdServer(settings or {}, anchored=anchored)
    try:
        server.start()
        yield server
    finally:
        server.stop()
