"""avsluice schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.__main__ import main


def test_it_prints_the_committed_schema(capsys: pytest.CaptureFixture[str]):
    """What is printed is what is committed."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (Path(__file__).parents[2] / "policy.schema.json").read_text()
