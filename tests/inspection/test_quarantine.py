"""Keeping entries: room, age, full disks, cancellation, and what the metadata may say."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from inspection.quarantine import Quarantine, QuarantineError, QuarantineFull
from inspection.record import new_id
from scanners.body import MemoryBody

MIB = 1024 * 1024


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make(tmp_path):
    """Opens quarantines in one private directory, and closes them."""
    opened = []
    tmp_path.chmod(0o700)

    def make(directory=tmp_path, *, max_age=3600.0, max_size=10 * MIB, on_full="refuse", clock=time.time):
        quarantine = Quarantine(directory, max_age, max_size, on_full, clock=clock)
        quarantine.open()
        opened.append(quarantine)
        return quarantine

    yield make
    for quarantine in opened:
        quarantine.close()


def ids(quarantine):
    return [entry.id for entry in quarantine.entries()]


def age(directory, clock):
    """Gives all files the virtual clock's time, as if they had been written then."""
    for name in os.listdir(directory):
        os.utime(directory / name, (clock.now, clock.now))


async def test_keep_returns_the_id_of_a_complete_entry(make, tmp_path):
    """The entry has the original bytes, and its metadata what the gateway knew, with id, time, size and hash."""
    quarantine = make(clock=Clock())
    entry, body = new_id(), MemoryBody(b"X5O!")
    assert await quarantine.keep(entry, body, {"virus": "Eicar", "recipients": ("a@x", "b@x")}) == entry
    assert (tmp_path / f"{entry}.data").read_bytes() == b"X5O!"
    kept = quarantine.entries()[0]
    assert kept.size == 4
    assert kept.metadata == {
        "id": entry,
        "time": "2027-01-15T08:00:00.000Z",
        "size": 4,
        "sha256": body.sha256,
        "virus": "Eicar",
        "recipients": ["a@x", "b@x"],
    }


async def test_metadata_is_escaped_cut_and_without_queries(make, tmp_path):
    """Metadata never holds a query, a password in a URL, a control character or a text without end."""
    entry = new_id()
    metadata = {
        "object": "http://u:secret@h/a?token=secret",
        "nested": [{"url": "ftp://secret@h/x#secret"}],
        "filename": "a\x1b\u202eb\udcff" + "c" * 9999,
        "sha256": "not yours to say",
        "path": tmp_path,
    }
    await make().keep(entry, MemoryBody(b""), metadata)
    text = (tmp_path / f"{entry}.json").read_text("ascii")
    assert "secret" not in text
    assert text.replace("\n", "").isprintable()
    assert len(text) < 4000
    assert json.loads(text)["path"] == str(tmp_path)
    assert json.loads(text)["sha256"] == MemoryBody(b"").sha256


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "", "a" * 99])
async def test_only_ids_of_ours_are_names(make, tmp_path, name):
    """A text that is no id never becomes a file name."""
    with pytest.raises(QuarantineError, match="no id of ours"):
        await make().keep(name, MemoryBody(b""), {})
    assert os.listdir(tmp_path) == []


async def test_refuse_when_full(make):
    """Under `refuse` what does not fit is refused, and what lies there stays."""
    quarantine = make(max_size=2 * MIB)
    first = await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    with pytest.raises(QuarantineFull, match="max-size"):
        await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    assert ids(quarantine) == [first]


async def test_drop_oldest_when_full(make):
    """Under `drop-oldest` the oldest entries make room, and no more of them than needed."""
    quarantine = make(max_size=4 * MIB, on_full="drop-oldest")
    kept = [await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {}) for _ in range(3)]
    kept.append(await quarantine.keep(new_id(), MemoryBody(bytes(2 * MIB)), {}))
    assert ids(quarantine) == [kept[2], kept[3]]


@pytest.mark.parametrize("on_full", ["refuse", "drop-oldest"])
async def test_an_object_above_the_whole_drops_nothing(make, on_full):
    """An object that can never fit is refused without dropping anything for it."""
    quarantine = make(max_size=2 * MIB, on_full=on_full)
    first = await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    with pytest.raises(QuarantineFull, match="larger than the whole"):
        await quarantine.keep(new_id(), MemoryBody(bytes(2 * MIB)), {})
    assert ids(quarantine) == [first]


async def test_what_is_too_old_goes(make, tmp_path):
    """Entries above `max_age` go at start, by `expire`, and before anything is refused for lack of room."""
    clock = Clock()
    quarantine = make(max_size=2 * MIB, clock=clock)
    await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    age(tmp_path, clock)
    clock.now += 3600
    assert quarantine.expire() == 0
    clock.now += 1
    second = await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    assert ids(quarantine) == [second]
    age(tmp_path, clock)
    clock.now += 3601
    assert quarantine.expire() == 1
    third = await quarantine.keep(new_id(), MemoryBody(b""), {})
    age(tmp_path, clock)
    assert ids(make(clock=clock)) == [third]
    clock.now += 3601
    assert ids(make(clock=clock)) == []


async def test_writers_under_way_count(make, tmp_path):
    """Room that is promised to one writer is not promised to another."""
    quarantine = make(max_size=2 * MIB)
    body = Gated(bytes(MIB))
    under_way = asyncio.ensure_future(quarantine.keep(new_id(), body, {}))  # noqa: TID251  # held and awaited
    await asyncio.to_thread(body.entered.wait)
    assert "1048" in repr(quarantine)
    with pytest.raises(QuarantineFull):
        await quarantine.keep(new_id(), MemoryBody(bytes(MIB)), {})
    body.gate.set()
    await under_way
    assert len(ids(quarantine)) == 1
    assert "0 bytes" in repr(quarantine)


class Gated(MemoryBody):
    """A body whose first read waits until the test lets it go."""

    sha256 = "0" * 64  # the spool knows it without reading

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.entered, self.gate = threading.Event(), threading.Event()
        self.reads = 0

    def read(self, offset: int, size: int) -> bytes:
        self.entered.set()
        assert self.gate.wait(10)
        self.reads += 1
        return super().read(offset, size)


async def test_a_cancelled_keep_leaves_nothing_and_lets_go_of_the_body(make, tmp_path):
    """Cancellation comes back once the thread has let go of the body, and nothing half stays."""
    quarantine = make()
    body = Gated(bytes(5 * MIB))
    under_way = asyncio.ensure_future(quarantine.keep(new_id(), body, {}))  # noqa: TID251  # held and awaited
    await asyncio.to_thread(body.entered.wait)
    under_way.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not under_way.done()
    under_way.cancel()
    body.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    reads = body.reads
    assert reads < 5
    assert os.listdir(tmp_path) == []
    assert "0 bytes" in repr(quarantine)


async def test_the_loop_turns_while_the_disk_works(make):
    """A slow disk blocks the writer's thread and nobody else; a third entry waits for a free writer."""
    quarantine = make()
    bodies = [Gated(b"x") for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for body in bodies:
            group.create_task(quarantine.keep(new_id(), body, {}))
        await asyncio.to_thread(bodies[1].entered.wait)
        assert not bodies[2].entered.is_set()
        for body in bodies:
            body.gate.set()
    assert len(ids(quarantine)) == 3


async def test_a_spool_closed_under_us_is_a_quarantine_error(make, tmp_path):
    """A body that can no longer be read is an error of the quarantine's kind, and leaves nothing."""

    class Closed(MemoryBody):
        sha256 = "0" * 64

        def read(self, offset: int, size: int) -> bytes:
            raise ValueError("read of closed file")

    with pytest.raises(QuarantineError, match="closed file"):
        await make().keep(new_id(), Closed(b"abc"), {})
    assert os.listdir(tmp_path) == []


@contextmanager
def limited_files(size: int):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


async def test_a_file_above_the_processes_limit_is_full(make, tmp_path):
    """Where the system refuses a file of that size, the quarantine is full, and nothing half stays."""
    quarantine = make()
    with limited_files(MIB), pytest.raises(QuarantineFull):
        await quarantine.keep(new_id(), MemoryBody(bytes(2 * MIB)), {})
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tiny(tmp_path):
    """A file system of 1 MiB; skipped where we may not mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_is_full_and_the_next_entry_works(make, tiny):
    """No room on the disk is `QuarantineFull` with nothing left over, and what fits is kept thereafter."""
    quarantine = make(tiny)
    with pytest.raises(QuarantineFull, match="No space left"):
        await quarantine.keep(new_id(), MemoryBody(bytes(2 * MIB)), {})
    assert os.listdir(tiny) == []
    await quarantine.keep(new_id(), MemoryBody(bytes(MIB // 2)), {})
    assert len(ids(quarantine)) == 1


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_an_unusable_directory_is_told_at_start(tmp_path, kind):
    """A directory that is not there, or none, is an error at start that names it, and is never made by us."""
    place = tmp_path / "place"
    if kind == "file":
        place.touch()
    quarantine = Quarantine(place, 60, MIB)
    with pytest.raises(QuarantineError, match="place"):
        quarantine.open()
    quarantine.close()
    assert place.exists() == (kind == "file")


async def test_a_directory_that_went_away_is_an_error(make, tmp_path):
    """A quarantine removed while running is an error for the gateway to answer, not a crash."""
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    quarantine = make(place)
    place.rmdir()
    with pytest.raises(QuarantineError, match="place"):
        await quarantine.keep(new_id(), MemoryBody(b"x"), {})
