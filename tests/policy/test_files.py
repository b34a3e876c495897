"""The files that a policy needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy import files
from policy.files import missing_files

AV: dict[str, Any] = {"protocol": "clamav-file", "address": "127.0.0.1"}


def policy(**gateway: Any) -> dict[str, Any]:
    """A policy's plain data with one http-proxy."""
    acl = {"name": "D", "antivirus": ["A"], "quarantine": True}
    return {
        "antivirus": {"A": {**AV, "comm-dir": "comm"}, "UNUSED": {**AV, "comm-dir": "nowhere"}},
        "quarantine": {"directory": "kept"},
        "http-proxy": {"H": {"doc-acl": [acl], **gateway}},
    }


def places(data: dict[str, Any], base: Path) -> list[str]:
    return [".".join(map(str, loc)) for loc, _ in missing_files(data, base)]


def test_only_what_an_enabled_gateway_uses_is_looked_at(tmp_path: Path):
    """An unused engine's directory may be missing, and a disabled gateway needs nothing."""
    assert places(policy(), tmp_path) == ["quarantine.directory", "antivirus.A.comm-dir"]
    assert places(policy(enabled=False), tmp_path) == []


def test_nothing_is_missing_where_everything_is_there(tmp_path: Path):
    """Directories that exist and are writable satisfy; none is made or changed."""
    for name in ("comm", "kept"):
        (tmp_path / name).mkdir()
    assert places(policy(), tmp_path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["comm", "kept"]


def test_a_gateways_own_quarantine_goes_before_the_common_one(tmp_path: Path):
    """Where a gateway has a quarantine, that one is needed."""
    (tmp_path / "comm").mkdir()
    assert places(policy(quarantine={"directory": "own"}), tmp_path) == ["http-proxy.H.quarantine.directory"]


def test_an_unwritable_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory we may not write to is as good as none."""
    for name in ("comm", "kept"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    texts = [text for _, text in missing_files(policy(), tmp_path)]
    assert len(texts) == 2
    assert all("is not writable" in text for text in texts)


def test_replacements_are_short_utf_8_texts(tmp_path: Path):
    """A replacement that is too long or no text is refused, one that is fine is not."""
    (tmp_path / "long").write_bytes(b"x" * 70000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "fine").write_text("removed: {virus}")
    acls = [{"name": n, "action": "replace", "replace": n} for n in ("long", "binary", "fine")]
    found = list(missing_files({"smtp-proxy": {"S": {"doc-acl": acls}}}, tmp_path))
    assert [loc[-2] for loc, _ in found] == [0, 1]
    assert "larger than 64 KiB" in found[0][1]
    assert "not UTF-8" in found[1][1]


def test_an_audit_file_may_be_new_in_a_directory_that_exists(tmp_path: Path):
    """The audit file itself is made later, its directory is not."""
    data = {"http-proxy": {"H": {}}, "audit": {"to": "audit.jsonl"}}
    assert places(data, tmp_path) == []
    assert places({**data, "audit": {"to": "logs/audit.jsonl"}}, tmp_path) == ["audit.to"]
    assert places({**data, "audit": {"to": "syslog"}}, tmp_path) == []


@pytest.mark.parametrize("value", [5, None, [], {}, "a\0b"])
def test_wrong_types_are_somebody_elses_report(tmp_path: Path, value: object):
    """Names that are no text are left to the model."""
    data = policy(tls={"certificate": value}, user=value)
    data["antivirus"]["A"]["comm-dir"] = value
    data["quarantine"] = {"directory": value}
    assert all("exist" not in text for _, text in missing_files(data, tmp_path) if "user" not in text)


def test_a_path_that_cannot_be_looked_at_is_told(tmp_path: Path):
    """A name longer than the system allows is a problem, not a crash."""
    data = policy(tls={"certificate": "x" * 5000})
    data["quarantine"] = {"directory": "y" * 5000}
    assert set(places(data, tmp_path)) >= {"http-proxy.H.tls.certificate", "quarantine.directory"}


def test_yara_rules_are_a_file_or_a_directory(tmp_path: Path):
    """Either satisfies; neither is an error that says so."""
    data = {
        "antivirus": {"A": {"protocol": "builtin", "yara-rules": "rules"}},
        "http-proxy": {"H": {"doc-acl": [{"name": "D", "antivirus": ["A"]}]}},
    }
    (problem,) = missing_files(data, tmp_path)
    assert problem == (
        ("antivirus", "A", "yara-rules"),
        f"{tmp_path / 'rules'} does not exist; create it, or write another file or directory",
    )
    (tmp_path / "rules").mkdir()
    assert places(data, tmp_path) == []
    (tmp_path / "rules").rmdir()
    (tmp_path / "rules").write_text("")
    assert places(data, tmp_path) == []
    data["antivirus"]["A"] = {"protocol": "builtin", "hashes": "."}
    assert [text for _, text in missing_files(data, tmp_path)] == [f"{tmp_path} is no file; write one"]
