"""Objects as files for an engine: what stands there, for how long, and what happens to it meanwhile."""
# ruff: noqa: ASYNC240 - the tests look into a directory of their own, and nobody waits for them meanwhile

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policy.verdict import Status
from scanners import comm_dir
from scanners.body import MemoryBody, SparseBody
from scanners.comm_dir import SMALL, CommDir
from scanners.engine import Answer
from tests.scanners.disks import tiny_disk, unprivileged

MIB = 1 << 20


@pytest.fixture
async def laid(tmp_path: Path) -> AsyncIterator[CommDir]:
    """A comm-dir in an empty directory, which must be empty again afterwards."""
    made = CommDir(tmp_path)
    yield made
    await made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[CommDir]:
    """The same, for tests that leave things there."""
    made = CommDir(tmp_path)
    yield made
    await made.close()


class TestAsked:
    """What is believed of an engine's word."""

    @pytest.mark.parametrize("status", Status)
    async def test_the_answer_is_handed_on(self, laid: CommDir, tmp_path: Path, status: Status) -> None:
        """The engine is given the path of the object's bytes, and its answer stands."""

        async def scan(path: bytes) -> Answer:
            assert Path(os.fsdecode(path)).read_bytes() == b"data"
            return Answer(status)

        assert (await laid.ask(MemoryBody(b"data"), scan)).status is status

    @pytest.mark.parametrize("status", Status)
    async def test_only_free_needs_the_file(self, laid: CommDir, status: Status) -> None:
        """Free of a file that is not there any more is no answer; bad news stand."""

        async def scan(path: bytes) -> Answer:
            os.unlink(path)
            return Answer(status)

        if status is Status.FREE:
            with pytest.raises(FileNotFoundError):
                await laid.ask(MemoryBody(b"data"), scan)
        else:
            assert (await laid.ask(MemoryBody(b"data"), scan)).status is status


class TestLaidDown:
    """What the engine finds."""

    @pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 5 * MIB + 3])
    async def test_the_bytes_are_there_and_go_with_the_block(self, laid: CommDir, tmp_path: Path, size: int) -> None:
        """A regular file of exactly the object's bytes stands there for the time of the block."""
        data = os.urandom(size)
        async with laid.lay_down(MemoryBody(data)) as file:
            assert [p.read_bytes() for p in tmp_path.iterdir()] == [data]
            assert file.path == os.fsencode(next(tmp_path.iterdir()))
            file.check()

    async def test_names_cannot_be_guessed(self, laid: CommDir) -> None:
        """Two files have two names of 128 random bits behind our prefix, and absolute paths."""
        async with laid.lay_down(MemoryBody(b"x")) as one, laid.lay_down(MemoryBody(b"x")) as two:
            assert one.path != two.path
            assert all(p.startswith(b"/") and len(p.rpartition(b"/sluice-")[2]) == 32 for p in (one.path, two.path))

    @pytest.mark.parametrize(("directory_mode", "file_mode"), [(0o755, 0o644), (0o2750, 0o640)])
    async def test_the_engine_may_read_it(
        self, laid: CommDir, tmp_path: Path, directory_mode: int, file_mode: int
    ) -> None:
        """Anybody who gets into the directory may read the file; with set-group-ID only the group; never write."""
        tmp_path.chmod(directory_mode)
        before = os.umask(0o077)
        try:
            async with laid.lay_down(MemoryBody(b"x")):
                assert next(tmp_path.iterdir()).stat().st_mode & 0o7777 == file_mode
        finally:
            os.umask(before)

    async def test_nobody_reads_it_before_it_is_whole(self, laid: CommDir, tmp_path: Path) -> None:
        """While it is written the file is ours alone."""
        modes: list[int] = []

        class Watched(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                modes.append(next(tmp_path.iterdir()).stat().st_mode & 0o777)
                return super().read(offset, size)

        async with laid.lay_down(Watched(b"secret")):
            assert modes == [0o600]

    async def test_a_probe_takes_no_room(self, laid: CommDir, tmp_path: Path) -> None:
        """Zeros are holes: EICAR behind 100 MiB of filler is a file of a few blocks."""
        async with laid.lay_down(SparseBody(100 * MIB, [(100 * MIB - 5, b"EICAR")])):
            file = next(tmp_path.iterdir())
            assert (file.stat().st_size, file.stat().st_blocks * 512 < MIB) == (100 * MIB, True)
            with file.open("rb") as opened:
                opened.seek(-6, os.SEEK_END)
                assert opened.read() == b"\0EICAR"

    async def test_without_news_of_holes_everything_is_copied(
        self, laid: CommDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the file system does not tell its holes, all bytes are taken for data."""

        def refuse(descriptor: int, offset: int, what: int) -> int:
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(os, "lseek", refuse)
        async with laid.lay_down(SparseBody(3 * MIB, [(MIB, b"here")])):
            assert next(tmp_path.iterdir()).read_bytes() == bytes(MIB) + b"here" + bytes(2 * MIB - 4)


class TestTrouble:
    """When it cannot be laid down."""

    async def test_the_directory_is_never_made(self, tmp_path: Path) -> None:
        """A directory that is gone is an error each time, and once it is there again no more."""
        directory = tmp_path / "gone"
        made = CommDir(directory)
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                async with made.lay_down(MemoryBody(b"x")):
                    pytest.fail("where?")
        assert not directory.exists()
        directory.mkdir()
        async with made.lay_down(MemoryBody(b"x")):
            assert len(list(directory.iterdir())) == 1
        await made.close()

    async def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        """A file in the directory's place is an error."""
        (tmp_path / "file").write_text("")
        made = CommDir(tmp_path / "file")
        with pytest.raises(NotADirectoryError):
            async with made.lay_down(MemoryBody(b"x")):
                pytest.fail("where?")
        await made.close()

    async def test_a_directory_that_is_not_ours_to_write(self, short_directory: Path) -> None:
        """No right to write is an error."""
        short_directory.chmod(0o555)
        made = CommDir(short_directory)
        with unprivileged(), pytest.raises(PermissionError):
            async with made.lay_down(MemoryBody(b"x")):
                pytest.fail("where?")
        await made.close()
        short_directory.chmod(0o755)

    @pytest.mark.parametrize("size", [SMALL, 10 * MIB])
    async def test_a_full_disk(self, tmp_path: Path, size: int) -> None:
        """No room is an error, and gives back what was taken."""
        with tiny_disk(tmp_path):
            made = CommDir(tmp_path)
            async with made.lay_down(MemoryBody(b"first, to fill it")):
                with pytest.raises(OSError, match="No space left"):
                    async with made.lay_down(MemoryBody(b"x" * size)):
                        pytest.fail("where?")
            await made.close()
            assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("size", [100, 3 * MIB])
    async def test_a_body_that_ends_early(self, laid: CommDir, size: int) -> None:
        """Fewer bytes than announced are no whole object."""
        body = MemoryBody(b"x" * size)
        body.size += 1
        body.descriptor = MemoryBody(b"x" * size).descriptor  # type: ignore[method-assign]
        with pytest.raises(OSError, match="bytes"):
            async with laid.lay_down(body):
                pytest.fail("what?")

    async def test_a_body_without_descriptor(self, laid: CommDir) -> None:
        """Trouble with the object itself leaves no file."""

        class Broken(MemoryBody):
            def descriptor(self) -> int:
                raise OSError(24, "Too many open files")

        with pytest.raises(OSError, match="Too many"):
            async with laid.lay_down(Broken(b"x" * MIB)):
                pytest.fail("what?")

    async def test_nothing_is_laid_down_after_the_end(self, tmp_path: Path) -> None:
        """A closed comm-dir takes nothing and leaves nothing, not even descriptors."""
        made = CommDir(tmp_path)
        async with made.lay_down(MemoryBody(b"x")):
            pass
        await made.close()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(RuntimeError):
            async with made.lay_down(MemoryBody(b"x" * MIB)):
                pytest.fail("where?")
        assert len(os.listdir("/proc/self/fd")) == before
        assert list(tmp_path.iterdir()) == []

    async def test_what_cannot_be_removed_is_told(
        self, fragile: CommDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file that stays is a warning with its path, and no exception."""

        def refuse(*args: object, **kinds: object) -> None:
            raise OSError(30, "Read-only file system")

        async with fragile.lay_down(MemoryBody(b"x")) as file:
            monkeypatch.setattr(os, "unlink", refuse)
        monkeypatch.undo()
        assert f"{os.fsdecode(file.path)} cannot be removed: Read-only" in caplog.text


class TestCancelled:
    """When nobody waits any more."""

    async def test_with_the_file_there(self, laid: CommDir, tmp_path: Path) -> None:
        """A cancelled block removes its file."""
        there = asyncio.Event()

        async def hold() -> None:
            async with laid.lay_down(MemoryBody(b"x" * MIB)):
                there.set()
                await asyncio.Event().wait()

        holding = asyncio.get_running_loop().create_task(hold())
        await there.wait()
        assert len(list(tmp_path.iterdir())) == 1
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert list(tmp_path.iterdir()) == []

    async def test_in_the_middle_of_the_copy(
        self, laid: CommDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file is gone at once; the thread gives up by itself and closes what it had."""
        async with laid.lay_down(MemoryBody(b"warm up")):
            before = len(os.listdir("/proc/self/fd"))
        begun, go_on, written = threading.Event(), threading.Event(), [0]
        write = comm_dir._write

        def slow(descriptor: int, data: bytes, offset: int) -> int:
            begun.set()
            go_on.wait(5)
            written[0] += 1
            return write(descriptor, data, offset)

        monkeypatch.setattr(comm_dir, "_write", slow)
        copying = asyncio.get_running_loop().create_task(enter(laid, MemoryBody(b"x" * 10 * MIB)))
        await asyncio.to_thread(begun.wait, 5)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert list(tmp_path.iterdir()) == []
        go_on.set()
        await asyncio.to_thread(laid._threads.shutdown)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert written == [1]


async def enter(made: CommDir, body: MemoryBody | SparseBody) -> None:
    async with made.lay_down(body):
        pass


class TestCost:
    """What it costs everybody else."""

    async def test_the_event_loop_is_not_kept(self, laid: CommDir) -> None:
        """While 100 MiB are copied and removed the loop turns, with no stall near the 20 ms of the bar."""
        data = SparseBody(100 * MIB, [(n * MIB, b"x" * MIB) for n in range(0, 100, 2)])
        source = data.descriptor()
        data.descriptor = lambda: os.open(f"/proc/self/fd/{source}", os.O_RDONLY)  # type: ignore[method-assign]
        longest, last = 0.0, time.perf_counter()
        copying = asyncio.get_running_loop().create_task(enter(laid, data))
        while not copying.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        os.close(source)
        await copying
        # The bar is 20 ms on a quiet machine; a busy one may take the processor away for longer.
        assert longest < 0.2

    async def test_few_copies_at_a_time(self, laid: CommDir, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many large objects come at once, two are copied."""
        under_way, most, guard = 0, 0, threading.Lock()
        run = comm_dir._Copy.run

        def counted(copy: comm_dir._Copy) -> None:
            nonlocal under_way, most
            with guard:
                under_way += 1
                most = max(most, under_way)
            run(copy)
            with guard:
                under_way -= 1

        monkeypatch.setattr(comm_dir._Copy, "run", counted)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(enter(laid, MemoryBody(b"x" * 2 * MIB)))
        assert 1 <= most <= 2


class TestPaths:
    """What the engine calls the file."""

    @pytest.mark.parametrize(
        ("path_map", "theirs"),
        [
            (None, "{d}/a/b"),
            ({"{d}": "/jail"}, "/jail/a/b"),
            ({"{d}/": "/jail/"}, "/jail/a/b"),
            ({"{d}/a": "/one", "{d}": "/two", "/": "/three"}, "/one/b"),
            ({"{d}/a/b": "/"}, ""),
            ({"{d}/a/bb": "/no", "/": "/all"}, "/all{d}/a/b"),
        ],
    )
    async def test_our_prefix_is_theirs(self, tmp_path: Path, path_map: dict[str, str] | None, theirs: str) -> None:
        """The longest of our prefixes that is a whole directory name is put into the engine's words."""
        directory = tmp_path / "a/b"
        directory.mkdir(parents=True)
        mapped = path_map and {k.format(d=tmp_path): v for k, v in path_map.items()}
        made = CommDir(directory, mapped)
        async with made.lay_down(MemoryBody(b"x")) as file:
            named = os.fsdecode(file.path)
            assert os.path.dirname(named) == (theirs.format(d=tmp_path) or "/")
            assert (directory / os.path.basename(named)).exists()
        await made.close()

    def test_a_map_without_our_directory_is_refused(self) -> None:
        """A path-map that does not speak of the comm-dir is a mistake."""
        with pytest.raises(ValueError, match="comm-dir /data/tmp lies below no prefix"):
            CommDir(Path("/data/tmp"), {"/data/tmpx": "/x", "/other": "/y"})

    @pytest.mark.parametrize("directory", ["relative", "../up", ".", "/nul\0"])
    def test_a_relative_directory_is_refused(self, directory: str) -> None:
        """The engine would look for it in its own directory."""
        with pytest.raises(ValueError, match="no absolute path"):
            CommDir(Path(directory))

    @pytest.mark.parametrize("name", [b"new\nline", b"co:lon", b"a FOUND", b": OK", b"not-utf8-\xff", b"sp ace"])
    async def test_any_name_will_do(self, tmp_path: Path, name: bytes) -> None:
        """A directory's name may hold anything that a file system lets it."""
        directory = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(directory)
        made = CommDir(Path(os.fsdecode(directory)))
        async with made.lay_down(MemoryBody(b"x")) as file:
            assert os.path.dirname(file.path) == directory
            file.check()
        await made.close()
