"""The policies in examples/: what users copy loads, is sound, and names gateways that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.__main__ import main
from avsluice.hosting import HOSTED
from policy.load import load

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("**/*.yaml"))
POLICIES = [file for file in EXAMPLES if "cases" not in file.name and file.parent.name != "chapter"]


def test_each_use_has_one():
    """One for each way to begin."""
    assert {file.name for file in POLICIES} >= {"ftp.yaml", "smtp.yaml", "desktop.yaml", "all.yaml", "engines.yaml"}


@pytest.mark.parametrize("file", POLICIES, ids=[file.name for file in POLICIES])
def test_it_is_clean(file: Path, capsys: pytest.CaptureFixture[str]):
    """No error and no warning."""
    assert main(["check", str(file)]) == 0
    assert "no errors, 0 warnings" in "".join(capsys.readouterr())


@pytest.mark.parametrize("file", POLICIES, ids=[file.name for file in POLICIES])
def test_every_gateway_in_it_is_built(file: Path):
    """`avsluice run` knows how to run each kind."""
    kinds = {label.partition(".")[0] for label, gateway in load(file).gateways() if gateway.enabled}
    assert kinds <= {"http-proxy", *HOSTED}


@pytest.mark.parametrize("file", POLICIES, ids=[file.name for file in POLICIES])
def test_no_gateway_in_it_passes_what_is_found(file: Path, capsys: pytest.CaptureFixture[str]):
    """What `avsluice explain` says of a virus at each gateway is never that it is delivered."""
    for label, gateway in load(file).gateways():
        words = [] if gateway.kind in ("http-proxy", "ftp-proxy") else ["--recipient", "b@example.com"]
        assert main(["explain", str(file), label, "--virus-status", "found", *words]) == 0
        end = capsys.readouterr().out.splitlines()[-1]
        assert "accept" not in end or "the document: replace" in end, label
