"""What was said of one file, and how it is told.

Rules of this file: one file is one line, whatever its name; of the five statuses only `free` is free.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from policy.verdict import ScanReport, Status
from scanners.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One file's status. `size` in bytes, None where it could not be opened; `sha256` where it was asked for; `detail`
    says why it is not `free`; `ms` in milliseconds."""

    path: str
    status: Status
    virus: str | None = None
    detail: str = ""
    size: int | None = None
    sha256: str | None = None
    reports: tuple[ScanReport, ...] = ()
    ms: float = 0.0


def spell_line(report: FileReport) -> str:
    """`PATH: free`, `PATH: found NAME`, `PATH: skipped (why)`."""
    head = f"{spell_path(report.path)}: {report.status}"
    if report.status is Status.FOUND:
        return f"{head} {_show(report.virus or 'a virus without a name')}"
    return f"{head} ({_show(report.detail)})" if report.detail and report.status is not Status.FREE else head


def spell_json(report: FileReport) -> str:
    """One JSON object on one line. Bytes of a name that are not UTF-8 are as Python has them, U+DC80 to U+DCFF."""
    return json.dumps(
        {
            "path": report.path,
            "status": report.status,
            "virus": report.virus,
            "detail": report.detail,
            "size": report.size,
            "sha256": report.sha256,
            "engines": [_engine(engine) for engine in report.reports],
            "ms": round(report.ms, 3),
        }
    )


def _engine(report: ScanReport) -> dict[str, object]:
    return {
        "name": report.antivirus,
        "protocol": report.protocol,
        "version": report.version,
        "status": report.status,
        "virus": report.virus,
        "ms": round(report.ms, 3),
        "cached": report.cached,
        "coverage": report.coverage,
    }


def spell_path(path: str) -> str:
    """A file's name on one line: control, bidi and other unprintable characters as \\n or \\u202e, bytes that are
    not UTF-8 as \\xff, a backslash doubled, so that no two names look the same."""
    return "".join(map(_spell_character, path))


def _spell_character(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if 0x80 <= number <= 0xFF:
        return f"\\u{number:04x}"  # \x is for bytes
    return character.encode("unicode_escape").decode()


def _show(text: str) -> str:
    return printable(text.encode(errors="backslashreplace"))
