"""What of a policy's section bears on a verdict, as one name.

Rules of this file: everything bears on it but what is named here; of files the content counts, not the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from policy.model.antivirus import AnyAntivirus

_FORMAT = b"1"
"""Raised when the meaning of an engine's replies changes in our adapters."""

_NO_BEARING = {"timeout", "canary", "concurrency", "max_checked_size"}
_FILES = ("hashes", "yara_rules")


def name_scope(name: str, section: AnyAntivirus) -> str:
    """The same for two sections exactly where a verdict of one is a verdict of the other. OSError where a file cannot
    be read."""
    digest = hashlib.sha256(_FORMAT)
    for part in (name.encode(), section.model_dump_json(exclude=_NO_BEARING).encode(), *_read_files(section)):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:32]


def _read_files(section: AnyAntivirus) -> Iterator[bytes]:
    for field in _FILES:
        path = getattr(section, field, None)
        if isinstance(path, Path):
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                with file.open("rb") as content:
                    yield hashlib.file_digest(content, "sha256").digest()
