"""A real Valkey or Redis, as a fixture; where neither is installed the tests are left out and counted."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from policy.address import Address

_START_WITHIN = 10.0


def find_valkey() -> str | None:
    """Where a server is installed, or None."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyServer:
    """A server on a Unix socket of its own that keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        self.address = Address(unix=str(directory / "socket"))
        server = find_valkey()
        assert server is not None
        settings = ["--port", "0", "--unixsocket", str(self.address), "--save", "", "--dir", str(directory)]
        self._process = subprocess.Popen([server, *settings], stdout=subprocess.DEVNULL)

    def signal(self, number: signal.Signals) -> None:
        """E.g. SIGSTOP."""
        self._process.send_signal(number)

    def await_pong(self) -> None:
        """Returns once it answers."""
        deadline = time.monotonic() + _START_WITHIN
        while self.command("PING") != b"+PONG\r\n":
            if time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.02)

    def command(self, words: str) -> bytes:
        """A command's reply, up to 64 KiB; b"" where nobody answers."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.address))
            sock.sendall(words.encode() + b"\r\n")
            return sock.recv(65536)
        return b""

    def stop(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def run_valkey() -> Iterator[ValkeyServer]:
    """A server for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as path:
        server = ValkeyServer(Path(path))
        try:
            server.await_pong()
            yield server
        finally:
            server.stop()
