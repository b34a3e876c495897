"""YARA rules compiled in a process of their own: yara-x keeps Python's lock for all of it, a second for 2,000 rules.

Rules of this file: `compile_rules` is for whoever opens the engine, `main` is the process's end of it; a line of JSON
comes back and, behind it, the compiled rules.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scanners.builtin.launch import COMMAND

TIMEOUT = 120.0
"""Seconds that the rules may take to be compiled."""

_MISSING = "yara-rules need yara-x, which is not installed; pip install 'avsluice[yara]', or take the key out"


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules in yara-x's own form, and what they were made from and by, for people and for the cache's keys."""

    data: bytes
    edition: str


def compile_rules(path: Path) -> CompiledRules:
    """Compiles a file of rules, or the `.yar` and `.yara` files of a directory. Blocks.

    ValueError with a text for the administrator: file, line and column of each problem, or what to install."""
    command = [*COMMAND, "compile", str(path)]
    try:
        done = subprocess.run(  # noqa: S603  (our own script, and a path of the policy)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: the rules could not be compiled within {TIMEOUT:g} s") from None
    line, _, data = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        raise ValueError(f"{path}: the rules could not be compiled: yara-x ended with status {done.returncode}")
    said = json.loads(line)
    if "problem" in said:
        raise ValueError(said["problem"])
    return CompiledRules(data, said["edition"])


def main() -> None:
    """`worker.py compile PATH`."""
    out = sys.stdout.buffer
    said, data = _compile(Path(sys.argv[2]))
    out.write(json.dumps(said).encode() + b"\n" + data)
    out.flush()


def _compile(path: Path) -> tuple[dict[str, str], bytes]:
    try:
        from scanners.builtin import yara  # an extra
    except ImportError:
        return {"problem": _MISSING}, b""
    try:
        compiled = yara.compile_rules(path)
    except (ValueError, OSError) as why:
        return {"problem": str(why)}, b""
    return {"edition": compiled.edition}, compiled.data
