"""What a process that was killed leaves in its comm-dir, and who removes it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanners import comm_dir
from scanners.body import MemoryBody
from scanners.comm_dir import CommDir, clear_stale

MIB = 1 << 20
ROOT = Path(__file__).parents[2]

KILLED = """
import asyncio, os, pathlib, sys
from scanners.body import MemoryBody
from scanners.comm_dir import CommDir

async def main():
    made = CommDir(pathlib.Path(sys.argv[1]))
    async with made.lay_down(MemoryBody(b"x" * int(sys.argv[2]))) as file:
        print(os.fsdecode(file.path), flush=True)
        if sys.argv[3] == "wait":
            await asyncio.Event().wait()
    await made.close()

asyncio.run(main())
"""


@contextlib.contextmanager
def process(directory: Path, size: int, then: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that lays a file down, and the file."""
    command = [sys.executable, "-c", KILLED, str(directory), str(size), then]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout is not None
        try:
            yield started, Path(started.stdout.readline().strip())
        finally:
            started.kill()


class TestCleared:
    """What an earlier process left behind."""

    @pytest.mark.parametrize("size", [10, 3 * MIB])
    def test_a_killed_process(self, tmp_path: Path, size: int) -> None:
        """kill -9 leaves the file; the next start removes it."""
        with process(tmp_path, size, "wait") as (killed, left):
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert [*tmp_path.iterdir()] == [left]
        with process(tmp_path, 10, "end") as (following, other):
            assert following.wait(10) == 0
            assert other != left
        assert [*tmp_path.iterdir()] == []

    def test_a_process_that_lives_keeps_its_file(self, tmp_path: Path) -> None:
        """What another process of ours uses is locked, and left alone."""
        with process(tmp_path, 10, "wait") as (_, held):
            with process(tmp_path, 10, "end") as (following, _):
                assert following.wait(10) == 0
            assert [*tmp_path.iterdir()] == [held]

    def test_only_what_is_ours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other names, other kinds, other owners' files stay."""
        monkeypatch.setattr(comm_dir, "_STARTED", time.time() + 60)
        name = "sluice-" + "{}" * 8
        ours = tmp_path / name.format(*["0123"] * 8)
        (tmp_path / "sluice-0123").write_text("")
        (tmp_path / "other-0123").write_text("")
        (tmp_path / (ours.name + "0")).write_text("")
        (tmp_path / ours.name.replace("0", "a")).mkdir()
        (tmp_path / ours.name.replace("0", "b")).symlink_to("/etc/passwd")
        os.mkfifo(tmp_path / ours.name.replace("0", "c"))
        if os.geteuid() == 0:
            foreign = tmp_path / ours.name.replace("0", "d")
            foreign.write_text("")
            os.chown(foreign, 65534, 65534)
        kept = {*tmp_path.iterdir()}
        ours.write_text("")
        clear_stale(str(tmp_path))
        assert {*tmp_path.iterdir()} == kept

    def test_not_what_is_younger_than_this_process(self, tmp_path: Path) -> None:
        """A file that was made after our start is somebody's who lives, locked or not yet."""
        young = tmp_path / ("sluice-" + "0" * 32)
        young.write_text("")
        clear_stale(str(tmp_path))
        assert young.exists()

    async def test_it_happens_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The directory is looked through at the first use only."""
        looked: list[str] = []
        laid = CommDir(tmp_path)
        monkeypatch.setattr(comm_dir, "clear_stale", looked.append)
        for _ in range(3):
            async with laid.lay_down(MemoryBody(b"x")):
                pass
        await laid.close()
        assert looked == [str(tmp_path)]
