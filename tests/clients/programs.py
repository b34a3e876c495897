"""The programs that users run behind a gateway: where they are, and how a test runs one.

Rules of this file: nothing of the machine's own settings reaches a program (no proxy variables, no configuration of
the user's), and every run is bounded in time.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_WITHIN = 30.0  # the longest run of a program, seconds


@dataclass(frozen=True, slots=True)
class Run:
    """What one run left: the exit status, and both outputs as one text."""

    exit: int
    output: str


def run(command: Sequence[str | Path], home: Path, env: Mapping[str, str] | None = None) -> Run:
    """Run a program in the folder `home`, which is its HOME, too; AssertionError where it does not end in 30 s."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LD_LIBRARY_PATH", "TMPDIR")}
    variables = {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=home,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WITHIN,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{command[0]} did not end in {_WITHIN:g} s: {error.output!r}") from None
    return Run(done.returncode, done.stdout.decode(errors="replace"))


def find_pip() -> list[str] | None:
    """How to run pip: this Python's own, or the wheel that every CPython brings along for new environments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = Path(ensurepip.origin).parent / "_bundled" if ensurepip and ensurepip.origin else Path()
    wheel = next(iter(bundled.glob("pip-*.whl")), None)
    return [sys.executable, str(wheel / "pip")] if wheel else None


def find_apt() -> str | None:
    """apt-get, where what a test builds its package with is there, too."""
    return shutil.which("dpkg-deb") and shutil.which("apt-get")


def find_git() -> str | None:
    """git."""
    return shutil.which("git")


def find_wget() -> str | None:
    """GNU wget."""
    return shutil.which("wget")


def find_lftp() -> str | None:
    """lftp."""
    return shutil.which("lftp")


def find_tnftp() -> str | None:
    """tnftp, NetBSD's ftp."""
    return shutil.which("tnftp")


def find_ncftp() -> str | None:
    """ncftpget, of ncftp."""
    return shutil.which("ncftpget")


def find_chromium() -> str | None:
    """Debian's Chromium."""
    return shutil.which("chromium")
