"""avsluice check."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.__main__ import main
from policy.load import default_policy_path

ROOT = Path(__file__).parents[2]


def test_the_default_policy_is_silent(capsys: pytest.CaptureFixture[str]):
    """Without findings nothing is on standard output."""
    assert main(["check", str(default_policy_path())]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("no errors, 0 warnings\n")


def test_warnings_exit_with_zero(capsys: pytest.CaptureFixture[str]):
    """The chapter's hole is told with its line, and is no error."""
    path = ROOT / "examples/chapter/policy.yaml"
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}:78:9: smtp-proxy.SMTP-2.doc-acl.DOCOK: warning: a document of status unknown")
    assert out.count("\n") == 1


def test_errors_exit_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Every error is a line on standard output."""
    path = tmp_path / "p.yaml"
    path.write_text("blocked-memory: soon\nantivirous: {}\n")
    assert main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert [line.split(": ")[1] for line in out.splitlines()] == ["blocked-memory", "antivirous"]
    assert err == f"{path}: 2 errors\n"


def test_a_missing_file_is_an_error(capsys: pytest.CaptureFixture[str]):
    """A file that is not there is told in the same form."""
    assert main(["check", "/no/such.yaml"]) == 2
    assert capsys.readouterr().out == "/no/such.yaml:1:1: file: does not exist\n"


def test_what_an_engine_cannot_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Bad YARA rules and digests are told with their own file and line, at the policy's key."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/a.yar").write_text("rule A { condition: foo }\nrule B { condition: bar }\n")
    (tmp_path / "hashes").write_text("abc\n")
    path = tmp_path / "p.yaml"
    path.write_text(
        "antivirus:\n  B:\n    protocol: builtin\n    yara-rules: rules\n    hashes: hashes\n"
        "http-proxy:\n  H:\n    listen: 127.0.0.1:8080\n    doc-acl:\n      - {name: D, antivirus: [B]}\n"
    )
    assert main(["check", str(path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.replace(str(tmp_path), "")[:60] for line in lines] == [
        "/p.yaml:4:5: antivirus.B.yara-rules: /rules/a.yar:1:21: unkn",
        "/p.yaml:4:5: antivirus.B.yara-rules: /rules/a.yar:2:21: unkn",
        "/p.yaml:5:5: antivirus.B.hashes: /hashes:1: not a SHA-256 di",
    ]
