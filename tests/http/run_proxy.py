"""`avsluice run` as a subprocess, watched as mitmdump is in `tests.http.proxy`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.http.proxy import ROOT, Proxy


class RunProxy(Proxy):
    """One running `avsluice run FILE`."""

    def __init__(self, file: Path, home: Path, *words: str, more: Mapping[str, str] | None = None) -> None:
        env = {"HOME": str(home), "PYTHONPATH": str(ROOT), **(more or {})}
        super().__init__(env=env)
        # A session of its own: what is sent to its process group does not reach the tests.
        self._command = ["setsid", sys.executable, "-m", "avsluice", "run", str(file), "--allow-root", *words]
