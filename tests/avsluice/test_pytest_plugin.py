"""The pytest plugin, by running pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avsluice.pytest_plugin import find_policy

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "examples/chapter"


def run_pytest(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """pytest as a user would run it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *argv]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_which_files_are_cases(tmp_path: Path):
    """cases.yaml belongs to policy.yaml, NAME.cases.yaml to NAME.yaml, and one without its policy is left alone."""
    for name in ("policy.yaml", "mail.yaml"):
        (tmp_path / name).touch()
    assert find_policy(tmp_path / "cases.yaml") == tmp_path / "policy.yaml"
    assert find_policy(tmp_path / "mail.cases.yaml") == tmp_path / "mail.yaml"
    assert find_policy(tmp_path / "ftp.cases.yaml") is None
    assert find_policy(tmp_path / "policy.yaml") is None


def test_the_chapters_cases_are_green():
    """pytest on the chapter's directory runs every case."""
    done = run_pytest(".", cwd=CHAPTER)
    assert done.returncode == 0, done.stdout
    assert "43 passed" in done.stdout


def test_a_wrong_expectation_fails_with_the_trace(tmp_path: Path):
    """A failing case shows its place, what came out and why the earlier ACLs did not match."""
    shutil.copytree(CHAPTER, tmp_path / "chapter")
    (tmp_path / "chapter/cases.yaml").write_text(
        "- name: wrong\n  proxy: smtp-proxy.SMTP\n  mail: {documents: {virus-status: error}}\n  expect: {acl: VIRUS}\n"
    )
    done = run_pytest(".", cwd=tmp_path)
    assert done.returncode == 1
    assert "cases.yaml:1: wrong" in done.stdout
    assert "acl is AV-ERROR, not VIRUS" in done.stdout
    assert "mail-acl VIRUS: no match: virus-status is error, not found" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_broken_cases_file_is_a_collection_error(tmp_path: Path):
    """Every problem of the file is shown, with its place."""
    shutil.copytree(CHAPTER, tmp_path / "chapter")
    (tmp_path / "chapter/cases.yaml").write_text(
        "- {name: x, proxy: smtp-proxy.NO, mail: {documents: {}}, expect: {acl: A}}\n"
    )
    done = run_pytest(".", cwd=tmp_path)
    assert done.returncode == 2
    assert "cases.yaml:1:13: x.proxy: no gateway is called smtp-proxy.NO" in done.stdout


def test_the_plugin_is_light():
    """Every run of pytest imports it, so it brings nothing of ours along."""
    code = "import sys, avsluice.pytest_plugin; print('pydantic' in sys.modules or 'policy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["notes.yaml", "cases.yml", "cases.yaml"])
def test_foreign_files_are_left_alone(tmp_path: Path, name: str):
    """YAML that is no cases file, or has no policy beside it, is nobody's test."""
    (tmp_path / name).write_text("- nothing\n")
    assert run_pytest(".", cwd=tmp_path).returncode == 5
