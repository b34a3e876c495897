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
