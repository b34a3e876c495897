"""Loading a policy file."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import policy
from policy.load import PolicyError, default_policy_path, load, load_with_source
from policy.model import Auto

ROOT = Path(__file__).parents[2]


def test_the_shipped_default_is_the_tutorial():
    """It is one http-proxy, checked by `auto`, that lets only free pass, with event streams unchecked by name."""
    made = load(default_policy_path())
    assert [label for label, _ in made.gateways()] == ["http-proxy.HTTP"]
    proxy = made.http_proxy["HTTP"]
    stream, documents = proxy.doc_acl
    assert str(proxy.listen) == "127.0.0.1:8080"
    assert stream.antivirus is None
    assert stream.when.model_fields_set == {"direction", "content_type"}
    assert isinstance(made.antivirus[documents.antivirus[0]], Auto)
    assert (documents.interval, documents.chunk, documents.limit) == (5, 2000, 65536)
    assert documents.accept_antivirus_status == ()
    assert documents.when.always


def test_every_alternative_of_the_tutorial_is_one_uncommented_line_away(tmp_path: Path):
    """Each commented line of the default policy's sections is a key that the loader knows."""
    text = default_policy_path().read_text()
    for line in ("require-real-engine: true", "accept-antivirus-status: [skipped]", "quarantine: true"):
        assert f"# {line}" in text
        changed = text.replace(f"# {line}", line)
        (tmp_path / "p.yaml").write_text(changed)
        if line.startswith("quarantine"):
            with pytest.raises(PolicyError, match=r"quarantine\.directory: is missing"):
                load(tmp_path / "p.yaml")
        else:
            assert load(tmp_path / "p.yaml")


def test_the_chapter_loads_as_it_ships():
    """The whole chapter is one policy, although nothing has made the directory that no gateway uses."""
    made = load(ROOT / "examples/chapter/policy.yaml")
    assert [label for label, gateway in made.gateways() if not gateway.enabled] == ["smtp-proxy.SMTP-2"]
    assert len(list(made.gateways())) == 6
    replaced = made.pop3_proxy["POP3"].doc_acl[0].replace
    assert replaced == ROOT / "examples/chapter/replaced-infected.txt"


def test_names_are_relative_to_the_policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The working directory makes no difference to what a policy names."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "p.yaml").write_text(
        "antivirus: {A: {protocol: auto}}\nquarantine: {directory: kept}\n"
        "http-proxy: {H: {doc-acl: [{name: D, antivirus: A, quarantine: true}]}}\n"
    )
    monkeypatch.chdir("/")
    assert load(tmp_path / "p.yaml").quarantine.directory == tmp_path / "kept"


def test_the_package_offers_loading_and_deciding():
    """policy.load is a function, from the package as from its module."""
    assert policy.load is load
    assert policy.default_policy_path() == default_policy_path()
    assert callable(policy.decide)


def test_nothing_is_dialled(monkeypatch: pytest.MonkeyPatch):
    """Loading and checking never touch the network."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    assert load(ROOT / "examples/chapter/policy.yaml")


def test_the_source_comes_along(tmp_path: Path):
    """Lint gets the places of everything."""
    path = tmp_path / "p.yaml"
    path.write_text("# first\nblocked-memory: 0\n")
    made, source = load_with_source(path)
    assert made.blocked_memory == 0
    assert source.problem(("blocked-memory",), "x").line == 2
