"""What the real FTP servers of the tests have in common: a folder, a port, a passive range, and an end by id.

Rules of this file: the real thing or nothing; a server runs in the foreground as a child of its own session and is
ended with it; its files lie in `root`, which tests read and write directly.
"""

from __future__ import annotations

import contextlib
import ftplib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

UNPACKED = Path(__file__).resolve().parents[2] / ".servers"
"""Where `make servers` unpacks the servers that exclude each other as packages."""

type TlsMode = Literal["none", "starttls", "implicit"]

_START_WITHIN = 10.0
_RANGES = itertools.count(os.getpid() % 40)


def find_program(name: str) -> str | None:
    """Where that server's program is: unpacked by `make servers`, or installed."""
    own = UNPACKED / "usr/sbin" / name
    return str(own) if own.exists() else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def passive_range(size: int = 400) -> tuple[int, int]:
    """A range for one server's passive ports, below the kernel's own: another one at each call."""
    first = 10000 + next(_RANGES) % 50 * size
    return first, first + size - 1


class FtpServer(ABC):
    """One server. A context manager. `pem` is its certificate and key in one file, for `tls` other than none."""

    user = "anonymous"
    password = "secret-of-the-tests"  # noqa: S105 - the word that no log may contain

    def __init__(self, tls: TlsMode = "none", pem: Path | None = None, host: str = "127.0.0.1") -> None:
        self.tls, self.pem, self.host = tls, pem, host
        self.port = free_port(host)
        self.directory = Path(tempfile.mkdtemp(prefix="ftp-server-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.root = self.directory / "root"
        self.root.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments; its configuration has been written."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once it greets."""
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + _START_WITHIN
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.log()
                self.stop()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{log}")
            time.sleep(0.02)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as sock:
            return self.tls == "implicit" or sock.recv(4).startswith(b"220")
        return False

    def log(self) -> str:
        """What it wrote so far."""
        files = [f for f in self.directory.iterdir() if f.is_file() and f.suffix != ".conf"]
        return "\n".join(f.read_text(errors="replace") for f in files)

    def sessions(self) -> int:
        """How many connections to its port are established now."""
        return sum(1 for _ in _established(self.port))

    def login(self) -> ftplib.FTP:
        """A session of ftplib's with the server itself, plain."""
        client = ftplib.FTP(timeout=10)
        client.connect(self.host, self.port)
        client.login(self.user, self.password)
        return client

    def signal(self, number: signal.Signals) -> None:
        """To it and its children."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """Ends it with its children, and removes its folder."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _established(port: int) -> list[str]:
    """The lines of /proc/net/tcp and tcp6 for connections whose local port it is (proc(5))."""
    lines: list[str] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            lines += Path(table).read_text().splitlines()[1:]
    rows = (line.split() for line in lines)
    return [row[1] for row in rows if row[3] == "01" and row[1].endswith(f":{port:04X}")]
