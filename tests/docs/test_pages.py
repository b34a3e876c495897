"""What the pages name is there: commands with their options, make targets, files, links."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from avsluice.__main__ import COMMANDS, main
from tests.docs.pages import PAGES, ROOT, codes, commands

EXAMPLES = sorted(ROOT.glob("examples/*.yaml"))
WRITTEN = sorted({(page.relative_to(ROOT), words) for page in [*PAGES, *EXAMPLES] for words in commands(page)})
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FILE = re.compile(
    r"(?:addons|avsluice|bench|deploy|docs|examples|ftpgw|inspection|mailgw|policy|scanners|tests)/[\w./-]+"
)


def test_there_are_commands_to_look_at():
    """The pages are read as they are meant to be."""
    assert {words.split()[0] for _, words in WRITTEN} >= {"run", "check", "doctor", "scan", "stats", "top"}


@pytest.mark.parametrize(("page", "words"), WRITTEN, ids=[f"{page}: {words}" for page, words in WRITTEN])
def test_every_command_is_understood(page: Path, words: str):
    """The command is there and takes these options; what it does is tested elsewhere."""
    name, *rest = shlex.split(words)
    assert name in COMMANDS, page
    parser = argparse.ArgumentParser(exit_on_error=False)
    import_module(COMMANDS[name][0]).add_arguments(parser)
    if rest:  # else it is only named
        parser.parse_args(rest)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path):
    """To a file of ours that is there; those to the world are left alone."""
    ours = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in ours if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_files_that_are_named_are_there(page: Path):
    """A path of ours in code is a file or a folder of this tree."""
    named = {path.rstrip("./") for code in codes(page) for path in _FILE.findall(code)}
    in_code = {path for path in named if re.search(r"\.(py|md|yaml|service|txt|html)$", path)}
    assert sorted(path for path in in_code if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_make_targets_are_there(page: Path):
    """`make TARGET` in code is one of the Makefile's."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for code in codes(page) for word in re.findall(r"(?:^|\s)make ([a-z]+)", code)}
    assert asked <= targets


def test_the_readme_s_policy_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What stands below "Your own policy", but for what serves and what asks who serves."""
    shutil.copy(ROOT / "policy/default.yaml", tmp_path / "my.yaml")
    monkeypatch.chdir(tmp_path)
    words = [shlex.split(words) for words in commands(ROOT / "README.md") if " my.yaml" in words]
    ends = {tuple(line[:2]): main(line) for line in words if line[0] in ("check", "explain")}
    assert ends == {("check", "my.yaml"): 0, ("explain", "my.yaml"): 0}
