"""A real mitmdump as a subprocess: started, watched, measured, and stopped by its own id.

Rules of this file: nothing is asserted but the start; what the process prints is kept line by line, and audit
records (JSON lines) are told from log lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
MITMDUMP = Path(sys.executable).with_name("mitmdump")
OURS = re.compile(r"ready http-proxy\.\S+ 127\.0\.0\.1:(\d+)")
STOCK = re.compile(r"proxy listening at 127\.0\.0\.1:(\d+)")
CRASH = re.compile(r"has crashed|Traceback \(most recent call last\)|Addon error|Task exception was never")

Record = dict[str, Any]


class Proxy:
    """One running mitmdump. A context manager: SIGTERM at its end, SIGKILL if that takes more than 10 s."""

    def __init__(
        self,
        *,
        scripts: Sequence[Path] = (ROOT / "addons" / "av.py",),
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        ready: re.Pattern[str] = OURS,
        prefix: Sequence[str] = (),
    ) -> None:
        self.lines: list[str] = []
        self.records: list[Record] = []
        self.port = 0
        self._ready = ready
        self._changed = threading.Condition()
        self._command = [*prefix, str(MITMDUMP), "--listen-host", "127.0.0.1", "--listen-port", "0"]
        self._command += [word for script in scripts for word in ("-s", str(script))]
        self._command += [word for option in options for word in ("--set", option)]
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(env or {})}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        streams = (self._process.stdout, self._process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(s,), daemon=True) for s in streams]
        for reader in self._readers:
            reader.start()
        try:
            line = self.wait_for_line(self._ready, timeout=30)
        except BaseException:
            self.stop()
            raise
        match = self._ready.search(line)
        assert match is not None
        self.port = int(match[1])
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> int:
        """SIGTERM, then its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        return self._process.returncode

    def wait(self, timeout: float) -> int:
        """The exit status of a process that ends by itself; TimeoutExpired where it does not."""
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._take(line.rstrip("\n"))
        with self._changed:
            self._changed.notify_all()

    def _take(self, line: str) -> None:
        record: Record | None = None
        if line.startswith('{"'):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
        with self._changed:
            self.lines.append(line)
            if record is not None:
                self.records.append(record)
            self._changed.notify_all()

    def wait_until[T](self, look: Callable[[], T | None], what: str, timeout: float = 5) -> T:
        """What `look` returns once it is true, tried at every line; AssertionError after `timeout` s."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (found := look()):
                left = deadline - time.monotonic()
                dead = self._process.poll() is not None and not any(r.is_alive() for r in self._readers)
                if left <= 0 or dead:
                    log = "\n".join(self.lines[-60:])
                    raise AssertionError(f"no {what} in {timeout} s (ended: {dead}); the log:\n{log}")
                self._changed.wait(min(left, 0.5))
            return found

    def wait_for_line(self, pattern: str | re.Pattern[str], timeout: float = 5, since: int = 0) -> str:
        """The first line, from number `since` on, that the pattern is found in."""
        found = re.compile(pattern).search
        return self.wait_until(
            lambda: next((line for line in self.lines[since:] if found(line)), None), f"{pattern!r}", timeout
        )

    def records_of(self, url: str) -> list[Record]:
        """The audit records so far about a URL (its query left aside)."""
        return [r for r in tuple(self.records) if r.get("object") == url.split("?")[0]]

    def record_of(self, url: str, timeout: float = 5) -> Record:
        """The latest audit record about a URL, waited for."""
        return self.wait_until(lambda: self.records_of(url), f"a record of {url}", timeout)[-1]

    def crashes(self, since: int = 0) -> list[str]:
        """Log lines, from number `since` on, that tell of a crash, a traceback or a failed hook."""
        return [line for line in self.lines[since:] if CRASH.search(line)]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def address(self) -> str:
        """The proxy's URL, for curl's --proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self._process.pid}")

    def memory(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """Highest resident bytes since the start or the last `reset_peak`."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new measurement of `peak_memory` (proc(5), clear_refs)."""
        (self._proc / "clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        text = (self._proc / "status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    def open_files(self) -> list[str]:
        """What the descriptors of the process point at, as /proc tells it."""
        targets = []
        for link in (self._proc / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                targets.append(str(link.readlink()))
        return targets

    def spool_files(self) -> list[str]:
        """Open unlinked files: the spools."""
        return [t for t in self.open_files() if t.endswith(" (deleted)") or t.startswith("/memfd:")]
