"""A real Valkey or Redis, as a fixture; where neither is installed the tests are left out and counted."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from policy.address import Address

_START_WITHIN = 10.0


def find_valkey() -> str | None:
    """Where a server is installed, or None."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyServer:
    """A server on a Unix socket of its own that keeps nothing on disk. `settings`: lines of its configuration, `login`:
    what to send before each command of ours."""

    def __init__(self, directory: Path, settings: Sequence[str] = (), login: Sequence[str] = ()) -> None:
        self.address = Address(unix=str(directory / "socket"))
        self._login = login
        server = find_valkey()
        assert server is not None
        lines = [f"unixsocket {self.address}", 'save ""', f"dir {directory}", *settings]
        if not any(line.startswith("port ") for line in settings):
            lines.append("port 0")
        (directory / "server.conf").write_text("\n".join(lines))
        self._process = subprocess.Popen([server, str(directory / "server.conf")], stdout=subprocess.DEVNULL)

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
        """The reply to a command that is answered in one line; b"" where nobody answers."""
        commands = [*self._login, words]
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.address))
            sock.sendall("".join(f"{command}\r\n" for command in commands).encode())
            with sock.makefile("rb") as lines:
                return [lines.readline(65536) for _ in commands][-1]
        return b""

    def stop(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def run_valkey(settings: Sequence[str] = (), login: Sequence[str] = ()) -> Iterator[ValkeyServer]:
    """A server for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as path:
        server = ValkeyServer(Path(path), settings, login)
        try:
            server.await_pong()
            yield server
        finally:
            server.stop()


def find_port() -> int:
    """One that is free on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
