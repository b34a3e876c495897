"""The JSON Schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from policy.load import default_policy_path
from policy.schema import build_schema, spell_schema

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_current():
    """Whoever changes the model writes the schema anew: avsluice schema > policy.schema.json."""
    assert (ROOT / "policy.schema.json").read_text() == spell_schema()


def test_what_ships_is_valid():
    """The shipped policies satisfy the committed schema."""
    policies = [str(default_policy_path()), str(ROOT / "examples/chapter/policy.yaml")]
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(ROOT / "policy.schema.json"), *policies]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


BAD = (
    *("unknown-top-key", "snake-case-key", "virus-status-in-http", "trickle-in-mail", "unknown-status", "pop3-discard"),
    *("doc-acl-empty", "mail-keys-in-http", "size-unit", "empty-value", "unknown-protocol", "acl-without-name"),
)


@pytest.mark.parametrize("name", BAD)
def test_bad_policies_are_invalid(name: str):
    """What the schema can see it refuses as the loader does."""
    data = YAML(typ="safe", pure=True).load(ROOT / "tests/bad_policies" / name / "policy.yaml")
    assert not Draft202012Validator(build_schema()).is_valid(data)


def test_keys_are_the_files_own():
    """The schema speaks kebab-case and allows no null."""
    schema = build_schema()
    assert "blocked-memory" in schema["properties"]
    assert schema["additionalProperties"] is False
    assert '"null"' not in json.dumps(schema)
