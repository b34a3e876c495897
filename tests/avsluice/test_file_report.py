"""How one file's status is told."""

from __future__ import annotations

import json
import os

import pytest

from avsluice.file_report import FileReport, spell_json, spell_line, spell_path
from policy.verdict import ScanReport, Status


@pytest.mark.parametrize(
    ("status", "virus", "detail", "line"),
    [
        (Status.FREE, None, "stream: OK", "f: free"),
        (Status.FOUND, "Eicar", "stream: Eicar FOUND", "f: found Eicar"),
        (Status.FOUND, None, "", "f: found a virus without a name"),
        (Status.SKIPPED, None, "too large", "f: skipped (too large)"),
        (Status.ERROR, None, "", "f: error"),
        (Status.UNKNOWN, None, "what\nis it", "f: unknown (what\\nis it)"),
    ],
)
def test_one_line_a_file(status: Status, virus: str | None, detail: str, line: str):
    """The status, the virus, and why something is not free; on one line."""
    assert spell_line(FileReport(path="f", status=status, virus=virus, detail=detail)) == line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xc3\xa9 x", "café x"),
        (b"a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        (b"a\\nb", "a\\\\nb"),
        (b"\xff\x85", "\\xff\\x85"),
        ("\x85\xa0".encode(), "\\u0085\\u00a0"),
        ("exe.\u202etxt".encode(), "exe.\\u202etxt"),
    ],
)
def test_names_cannot_deceive(name: bytes, shown: str):
    """Control and bidi characters, odd bytes and backslashes are escaped, each in its own way."""
    assert spell_path(os.fsdecode(name)) == shown


def test_json_gives_the_name_back():
    """A name of any bytes survives JSON, and the line is ASCII."""
    name = os.fsdecode(b"a\n\xff")
    engine = ScanReport(antivirus="A", protocol="builtin", status=Status.FOUND, virus="V", version="1", ms=1.23456)
    line = spell_json(FileReport(path=name, status=Status.FOUND, virus="V", size=1, reports=(engine,)))
    plain = json.loads(line)
    assert line.isascii()
    assert "\n" not in line
    assert os.fsencode(plain["path"]) == b"a\n\xff"
    assert (plain["status"], plain["virus"], plain["sha256"]) == ("found", "V", None)
    assert plain["engines"][0]["name"] == "A"
    assert plain["engines"][0]["ms"] == 1.235
