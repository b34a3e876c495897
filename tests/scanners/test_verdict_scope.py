"""What of a section bears on a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from policy.model import Policy
from scanners.verdict_scope import name_scope

NET = {"protocol": "clamav-net", "address": "127.0.0.1:1"}
ICAP = {"protocol": "icap", "address": "127.0.0.1", "uri": "/av"}


def scope(section: Mapping[str, object], name: str = "A") -> str:
    """As the registry would name it."""
    return name_scope(name, Policy.model_validate({"antivirus": {name: section}}).antivirus[name])


@pytest.mark.parametrize(
    ("section", "other"),
    [
        (NET, {"transport": "instream"}),
        (NET, {"address": "127.0.0.1:2"}),
        (ICAP, {"uri": "/other"}),
        (ICAP, {"icap-pass-200-with-pure-body": False}),
    ],
)
def test_what_bears_on_a_verdict_changes_it(section: Mapping[str, object], other: Mapping[str, object]) -> None:
    """Who is asked, how, and what is made of the reply."""
    assert scope(section) != scope({**section, **other})
    assert scope(section) != scope(section, "B")


@pytest.mark.parametrize(
    "other", [{"timeout": "1s"}, {"canary": "off"}, {"concurrency": 1}, {"max-checked-size": "1KiB"}]
)
def test_what_does_not_leaves_it_alone(other: Mapping[str, object]) -> None:
    """How long, how often, how many: no verdict is another by that. Sizes are looked at before."""
    assert scope(NET) == scope({**NET, **other})


def test_the_content_of_files_counts(tmp_path: Path) -> None:
    """The same file of hashes with another content is another scope; so is a directory of rules."""
    hashes, rules = tmp_path / "hashes", tmp_path / "rules"
    rules.mkdir()
    seen = []
    for content in ("a", "b", "a"):
        hashes.write_text(content)
        (rules / "one.yar").write_text(content)
        seen.append(
            [
                scope({"protocol": "builtin", "hashes": str(hashes)}),
                scope({"protocol": "builtin", "yara-rules": str(rules)}),
            ]
        )
    assert seen[0] == seen[2]
    assert all(a != b for a, b in zip(seen[0], seen[1], strict=True))


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    """The registry makes a message of it."""
    with pytest.raises(OSError, match="none"):
        scope({"protocol": "builtin", "hashes": str(tmp_path / "none")})
