"""A corpus of bad policies: each is refused for the right reasons, at the right places, in the exact words."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from policy.load import PolicyError, load

HERE = Path(__file__).parent
NAMES = sorted(path.parent.name for path in HERE.glob("*/policy.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_bad_policy_is_refused_with_every_problem_at_once(name: str, monkeypatch: pytest.MonkeyPatch):
    """Each bad policy yields exactly the expected lines, within two seconds."""
    monkeypatch.chdir(HERE / name)
    begin = time.perf_counter()
    with pytest.raises(PolicyError) as caught:
        load("policy.yaml")
    assert time.perf_counter() - begin < 2
    assert str(caught.value) == (HERE / name / "expected").read_text().rstrip("\n")


def test_corpus_is_large_enough():
    """The corpus holds at least fifty policies, each with its expectation."""
    assert len(NAMES) >= 50
    assert all((HERE / name / "expected").read_text().startswith("policy.yaml:") for name in NAMES)


@pytest.mark.parametrize("name", ["alias-bomb", "python-object", "everything-at-once", "too-deep"])
def test_check_command_exits_with_two_and_no_traceback(name: str):
    """`avsluice check` prints the problems alone and ends with status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "avsluice", "check", "policy.yaml"],
        cwd=HERE / name,
        capture_output=True,
        text=True,
        timeout=20,
        env={"PYTHONPATH": str(HERE.parents[1]), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == (HERE / name / "expected").read_text()
    assert "Traceback" not in done.stderr
