"""examples/engines.yaml: it loads, it is sound, and every section in it can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.lint import lint
from policy.load import load
from scanners.registry import EngineNotBuilt, open_antivirus

ENGINES = Path(__file__).parents[2] / "examples/engines.yaml"
NAMES = list(load(ENGINES).antivirus)


def test_it_is_sound() -> None:
    """It loads without error and without a warning."""
    assert list(lint(load(ENGINES))) == []


def test_every_protocol_is_shown() -> None:
    """Each protocol with an address is there, and both of today's Dr.Web as what they speak."""
    sections = load(ENGINES).antivirus
    protocols = {section.protocol for section in sections.values()}
    assert protocols == {"clamav-net", "clamav-file", "icap", "drweb-net", "drweb-file"}
    assert [sections[name].protocol for name in ("DRWEB-CLAMD", "DRWEB-ICAP")] == ["clamav-net", "icap"]


@pytest.mark.parametrize("name", NAMES)
def test_every_section_opens(name: str) -> None:
    """Every section makes an engine; nothing is contacted for that."""
    try:
        opened = open_antivirus(load(ENGINES), [name])[name]
    except EngineNotBuilt as why:
        pytest.skip(str(why))
    assert opened.protocol == load(ENGINES).antivirus[name].protocol
