"""docs/policy.md: every example in it works as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policy.cases import load_cases
from policy.lint import lint
from policy.load import load
from policy.trial import try_case

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/policy.md").read_text()
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
POLICIES = [text for kind, text in EXAMPLES if kind == "yaml" and not text.startswith("# cases")]


@pytest.mark.parametrize("text", POLICIES, ids=[str(n) for n in range(len(POLICIES))])
def test_every_policy_in_the_reference_loads_without_a_warning(tmp_path: Path, text: str):
    """What users copy from the reference is accepted, and sound."""
    (tmp_path / "policy.yaml").write_text(text)
    assert list(lint(load(tmp_path / "policy.yaml"))) == []


def test_the_case_in_the_reference_passes(tmp_path: Path):
    """The example case is about the SMTP example."""
    (tmp_path / "policy.yaml").write_text(next(t for t in POLICIES if "smtp-proxy" in t))
    (tmp_path / "cases.yaml").write_text(next(t for kind, t in EXAMPLES if t.startswith("# cases")))
    cases, _ = load_cases(tmp_path / "cases.yaml")
    assert all(try_case(load(tmp_path / "policy.yaml"), case).passed for case in cases)


def test_the_python_in_the_reference_runs(monkeypatch: pytest.MonkeyPatch):
    """The example of the Python API holds."""
    monkeypatch.chdir(ROOT)
    (code,) = (text for kind, text in EXAMPLES if kind == "python")
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 - our own page's example
    assert scope["decision"]


def test_every_key_is_mentioned():
    """No key of the model is missing from the reference."""
    from policy.schema import build_schema

    keys = {key for part in [build_schema(), *build_schema()["$defs"].values()] for key in part.get("properties", {})}
    assert {key for key in keys if key not in TEXT} == set()
