"""avsluice test."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.__main__ import main

CHAPTER = Path(__file__).parents[2] / "examples/chapter"
POLICY = str(CHAPTER / "policy.yaml")


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> list[str]:
    assert main(["test", *argv]) == code
    return capsys.readouterr().out.splitlines()


def test_the_chapters_cases_reach_every_acl(capsys: pytest.CaptureFixture[str]):
    """At least forty cases, one line each, and nothing left over."""
    lines = run(capsys, "--coverage", POLICY, str(CHAPTER / "cases.yaml"))
    passed = [line for line in lines if line.startswith("ok ")]
    assert len(passed) >= 40
    assert lines[-2:] == [f"{len(passed)} passed, 0 failed", "23 of 23 ACLs reached"]


def test_a_wrong_expectation_prints_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A failure says what came out, which ACL matched and why the earlier ones did not, and exits with 1."""
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "- name: wrong\n  proxy: smtp-proxy.SMTP\n  mail: {documents: [{virus-status: error}]}\n"
        "  expect: {acl: VIRUS, action: discard}\n"
    )
    lines = run(capsys, POLICY, str(cases), "--coverage", code=1)
    assert lines[:7] == [
        f"FAILED  {cases}:1:3: wrong: expected something else",
        "    acl is AV-ERROR, not VIRUS",
        "    action is defer, not discard",
        "      mail-acl VIRUS: no match: virus-status is error, not found",
        "      mail-acl AV-ERROR: matched: all its conditions hold",
        "0 passed, 1 failed",
        "1 of 23 ACLs reached",
    ]
    assert "not reached: smtp-proxy.SMTP mail-acl VIRUS" in lines


def test_bad_input_exits_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A cases file for an unknown gateway, a broken one and a missing policy are bad input, not failures."""
    cases = tmp_path / "cases.yaml"
    cases.write_text("- {name: x, proxy: smtp-proxy.SNTP, mail: {documents: {}}, expect: {acl: A}}\n")
    told = f"{cases}:1:13: x.proxy: no gateway is called smtp-proxy.SNTP; did you mean smtp-proxy.SMTP?"
    assert run(capsys, POLICY, str(cases), code=2) == [told]
    assert run(capsys, POLICY, str(tmp_path / "none"), code=2) == [f"{tmp_path}/none:1:1: file: does not exist"]
    assert run(capsys, str(tmp_path / "none"), str(cases), code=2) == [f"{tmp_path}/none:1:1: file: does not exist"]
