"""`avsluice run` with ftp-proxies, as a subprocess: one process, as many gateways as the policy has.

Rules of this file: nothing is asserted but the start; what the process prints is kept by `tests.http.proxy.Proxy`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.http.proxy import ROOT, Proxy

READY = re.compile(r"ready ftp-proxy\.(\S+) (?:\[[0-9a-f:]+\]|[0-9.]+):(\d+)")


class FtpGateway(Proxy):
    """One running process. `ports` has the port of each gateway by its name; `file` is its policy; `words` are further
    ones of its command line, `prefix` stands in front of that."""

    def __init__(
        self,
        file: Path,
        names: list[str],
        *,
        words: Sequence[str] = (),
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(ready=READY, env={"PYTHONPATH": str(ROOT), **(env or {})})
        self.file = file
        self._names = names
        self.ports: dict[str, int] = {}
        self._command = [*prefix, sys.executable, "-m", "avsluice", "run", str(file), "--allow-root", *words]

    def __enter__(self) -> Self:
        # The first ready line's port is what the base class takes.
        self._ready = re.compile(READY.pattern.replace(r"(\S+)", r"\S+"))
        super().__enter__()
        try:
            for name in self._names:
                line = self.wait_for_line(rf"ready ftp-proxy\.{name} ", timeout=30)
                match = READY.search(line)
                assert match is not None
                self.ports[name] = int(match[2])
        except BaseException:
            self.stop()
            raise
        return self

    def records_of_path(self, path: str) -> list[dict[str, Any]]:
        """The audit records so far whose object ends in that path."""
        return [r for r in tuple(self.records) if str(r.get("object", "")).endswith(path)]

    def record_of_path(self, path: str, timeout: float = 5) -> dict[str, Any]:
        """The latest of them, waited for."""
        return self.wait_until(lambda: self.records_of_path(path), f"a record of {path}", timeout)[-1]

    def sockets(self) -> int:
        """How many sockets the process has open now."""
        return sum(target.startswith("socket:") for target in self.open_files())
