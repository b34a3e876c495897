"""When somebody else has the right to write in the comm-dir, too."""
# ruff: noqa: ASYNC240 - the tests look into a directory of their own, and nobody waits for them meanwhile

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from scanners.body import MemoryBody
from scanners.comm_dir import CommDir


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[CommDir]:
    """A comm-dir in which things may be left."""
    made = CommDir(tmp_path)
    yield made
    await made.close()


def replace_by_link(path: str) -> None:
    os.unlink(path)
    os.symlink("/etc/passwd", path)


def replace_by_copy(path: str) -> None:
    data = Path(path).read_bytes()
    os.unlink(path)
    Path(path).write_bytes(data)


def replace_by_fifo(path: str) -> None:
    os.unlink(path)
    os.mkfifo(path)


def append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def away_and_back(path: str) -> None:
    os.rename(path, path + "-")
    os.rename(path + "-", path)


TRICKS: list[Callable[[str], None]] = [
    os.unlink,
    replace_by_link,
    replace_by_copy,
    replace_by_fifo,
    append,
    away_and_back,
    lambda path: os.link(path, path + "-"),
    lambda path: os.truncate(path, 0),
    lambda path: os.chmod(path, 0),
]


class TestOthers:
    """When somebody else has the right to write there, too."""

    @pytest.mark.parametrize("trick", TRICKS)
    async def test_a_change_is_noticed(self, fragile: CommDir, trick: Callable[[str], None]) -> None:
        """Whatever was done to the file meanwhile, the check after the answer fails."""
        async with fragile.lay_down(MemoryBody(b"data")) as file:
            file.check()
            trick(os.fsdecode(file.path))
            with pytest.raises(OSError, match=r"changed .* under the engine's eyes|No such file"):
                file.check()

    @pytest.mark.parametrize(
        "plant", [lambda p: p.symlink_to("/etc/passwd"), lambda p: p.write_text("mine"), Path.mkdir]
    )
    async def test_a_name_that_is_taken_is_not_ours(
        self, fragile: CommDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], object]
    ) -> None:
        """Whatever stands under the name already is an error; it is neither followed, written to nor removed."""
        monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
        target = tmp_path / ("sluice-" + "0" * 32)
        plant(target)
        with pytest.raises(FileExistsError):
            async with fragile.lay_down(MemoryBody(b"x")):
                pytest.fail("where?")
        assert target.is_symlink() or target.is_dir() or target.read_text() == "mine"

    async def test_a_new_directory_under_the_old_name(self, tmp_path: Path) -> None:
        """Our file is removed from the directory in which we made it."""
        old, moved = tmp_path / "a", tmp_path / "b"
        old.mkdir()
        made = CommDir(old)
        async with made.lay_down(MemoryBody(b"x")) as file:
            old.rename(moved)
            old.mkdir()
            with pytest.raises(FileNotFoundError):
                file.check()
        assert [*old.iterdir(), *moved.iterdir()] == []
        await made.close()

    @pytest.mark.parametrize(("mode", "warned"), [(0o777, True), (0o1777, False), (0o770, False), (0o755, False)])
    async def test_a_directory_for_everybody_is_told(
        self, fragile: CommDir, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
    ) -> None:
        """Where anybody may replace our files there is a warning."""
        tmp_path.chmod(mode)
        async with fragile.lay_down(MemoryBody(b"x")):
            pass
        assert ("anybody may change our files" in caplog.text) is warned
