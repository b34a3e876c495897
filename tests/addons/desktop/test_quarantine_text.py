"""A quarantine's entries as lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from addons.desktop.quarantine_text import LISTED, list_entries, show_entry
from inspection.quarantine import Quarantine
from inspection.record import new_id
from scanners.body import MemoryBody
from tests.addons.accounts import EVIL


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    """An empty one."""
    folder = tmp_path / "quarantine"
    folder.mkdir(mode=0o700)
    made = Quarantine(folder, max_age=3600, max_size=1 << 20)
    made.open()
    yield made
    made.close()


async def keep(quarantine: Quarantine, **metadata: object) -> str:
    return await quarantine.keep(new_id(), MemoryBody(b"12345"), metadata)


async def test_the_newest_come_first(quarantine: Quarantine) -> None:
    """The list counts all, and shows of each its id, status, virus, size and name."""
    first = await keep(quarantine, status="unknown", filename="a.bin")
    second = await keep(quarantine, status="found", virus="Eicar", filename="b.com")
    head, *lines = list_entries(quarantine)
    assert head == "quarantine: 2 entries, 10 B"
    assert [line.split()[0] for line in lines] == [second, first]
    assert lines[0].endswith("found Eicar 5 B b.com")


async def test_a_long_list_is_cut(quarantine: Quarantine) -> None:
    """Only so many are shown, and the head says so."""
    for _ in range(LISTED + 1):
        await keep(quarantine)
    head, *lines = list_entries(quarantine)
    assert head.endswith(f"the newest {LISTED}:")
    assert len(lines) == LISTED


async def test_an_entry_is_shown_with_all_that_is_known(quarantine: Quarantine) -> None:
    """Every field has a line, and what a peer chose adds none."""
    entry = await keep(quarantine, client="192.0.2.1", filename=EVIL + "\nx: y", virus=None)
    head, *lines = show_entry(quarantine, entry)
    assert head == f"quarantine entry {entry}"
    assert any("192.0.2.1" in line for line in lines)
    assert [line.split(":")[0].strip() for line in lines] == ["id", "time", "size", "sha256", "client", "filename"]
    assert not set("\x1b\u202e\n") & set("".join(lines))


def test_an_unknown_entry_is_told(quarantine: Quarantine) -> None:
    """There is no such entry."""
    with pytest.raises(LookupError, match="has no entry nothing"):
        list(show_entry(quarantine, "nothing"))
