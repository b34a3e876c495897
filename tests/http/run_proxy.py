"""`avsluice run` as a subprocess, watched as mitmdump is in `tests.http.proxy`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.http.proxy import ROOT, Proxy


class RunProxy(Proxy):
    """One running `avsluice run FILE`."""

    def __init__(self, file: Path, home: Path, *words: str) -> None:
        env = {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        super().__init__(env=env)
        self._command = [sys.executable, "-m", "avsluice", "run", str(file), "--allow-root", *words]
