"""YARA rules by yara-x: compiled, and matched.

Rules of this file: it is imported in our own short-lived or worker processes only, for yara-x keeps Python's lock
while it compiles and while it scans; includes are off, so that the files we list are all there is.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yara_x

from scanners.builtin.budget import Excess

_SUFFIXES = {".yar", ".yara"}
_MAX_FILES = 10_000
_MAX_SOURCES = 64 * 1024 * 1024
_MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules in yara-x's own form, and what they were made from and by."""

    data: bytes
    edition: str


class Matcher:
    """Compiled rules, asked about one layer at a time. For one thread."""

    def __init__(self, data: bytes) -> None:
        self._scanner = yara_x.Scanner(yara_x.Rules.deserialize_from(io.BytesIO(data)))

    def match(self, layer: bytes | str, seconds: float) -> str | None:
        """The name of the first rule that matches the bytes, or the file at that path. Excess where it takes longer
        (whole seconds, at least one), OSError where the file cannot be read."""
        self._scanner.set_timeout(max(1, math.ceil(seconds)))
        try:
            results = self._scanner.scan(layer) if isinstance(layer, bytes) else self._scanner.scan_file(layer)
        except yara_x.TimeoutError as why:
            raise Excess("the YARA rules took too long") from why
        except yara_x.ScanError as why:
            raise OSError(f"yara-x: {why}") from why
        return next((rule.identifier for rule in results.matching_rules), None)


def compile_rules(path: Path) -> Compiled:
    """The rules in a file, or in every `.yar` and `.yara` file of a directory and those below it.

    ValueError, one line a problem, with file, line and column; OSError where something cannot be read."""
    compiler = yara_x.Compiler(includes_enabled=False)
    digest = hashlib.sha256()
    problems: list[str] = []
    room = _MAX_SOURCES
    for name, file in _find_sources(path):
        raw = file.read_bytes()
        room -= len(raw)
        if room < 0:
            raise ValueError(f"{path}: more than {_MAX_SOURCES >> 20} MiB of rules")
        digest.update(len(raw).to_bytes(8) + raw)
        problems += _add(compiler, name, file, raw)
    if problems:
        more = [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
        raise ValueError("\n".join(problems[:_MAX_PROBLEMS] + more))
    rules = compiler.build()
    count = sum(1 for _ in rules)
    if not count:
        raise ValueError(f"{path}: there is no rule in it")
    out = io.BytesIO()
    rules.serialize_into(out)
    rules_word = "1 rule" if count == 1 else f"{count} rules"
    return Compiled(out.getvalue(), f"yara-x {version('yara-x')}, {rules_word} {digest.hexdigest()[:12]}")


def _find_sources(path: Path) -> Iterator[tuple[str, Path]]:
    """Namespace and place of each, in the order of their names; hidden ones are left out, as editors and mounted
    volumes leave them."""
    if not path.is_dir():
        yield "default", path
        return
    found = 0
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.suffix not in _SUFFIXES or any(part.startswith(".") for part in name.parts) or not file.is_file():
            continue
        found += 1
        if found > _MAX_FILES:
            raise ValueError(f"{path}: more than {_MAX_FILES} files of rules")
        yield str(name), file
    if not found:
        raise ValueError(f"{path}: there is no .yar or .yara file in it")


def _add(compiler: yara_x.Compiler, name: str, file: Path, raw: bytes) -> list[str]:
    """Compiles one file in a namespace of its own: two files may use one name for two rules."""
    try:
        source = raw.decode()
    except UnicodeDecodeError as why:
        line = raw.count(b"\n", 0, why.start) + 1
        return [f"{file}:{line}: not UTF-8"]
    before = len(compiler.errors())
    compiler.new_namespace(name)
    try:
        compiler.add_source(source, origin=str(file))
    except yara_x.CompileError:
        return [_describe(file, error) for error in compiler.errors()[before:]]
    return []


def _describe(file: Path, error: dict[str, object]) -> str:
    labels = error.get("labels")
    first = labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], dict) else {}
    hint = f": {text}" if (text := first.get("text")) else ""
    return f"{file}:{error.get('line', 1)}:{error.get('column', 1)}: {error.get('title', error)}{hint}"
