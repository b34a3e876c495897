"""The quarantine's directory: modes, half entries, several processes, and what may not be read as an entry."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from inspection.record import new_id
from inspection.shelf import Interrupted, Shelf
from scanners.body import MemoryBody

BODY = MemoryBody(b"eicar" * 1000)


def never() -> bool:
    return False


@pytest.fixture
def shelf(tmp_path):
    directory = tmp_path / "quarantine"
    directory.mkdir(mode=0o700)
    shelf = Shelf(directory)
    shelf.prepare()
    return shelf


def names(shelf):
    return sorted(os.listdir(shelf.directory))


def test_an_entry_is_two_private_files(shelf):
    """An entry is the original bytes and its metadata, both 0600 whatever the umask, and no temporary name."""
    entry = new_id()
    old = os.umask(0)
    try:
        shelf.store(entry, BODY, b'{"id": 1}', never)
    finally:
        os.umask(old)
    assert names(shelf) == [f"{entry}.data", f"{entry}.json"]
    assert (shelf.directory / f"{entry}.data").read_bytes() == b"eicar" * 1000
    assert {os.stat(shelf.directory / name).st_mode & 0o777 for name in names(shelf)} == {0o600}


@pytest.mark.parametrize("kind", ["data", "json"])
def test_what_is_no_file_takes_no_place(shelf, kind):
    """A directory with an entry's name does not count, so it cannot keep real entries from being removed in turn."""
    real, odd = new_id(), new_id()
    shelf.store(real, BODY, b"{}", never)
    for other in ("data", "json"):
        path = shelf.directory / f"{odd}.{other}"
        path.mkdir() if other == kind else path.write_bytes(b"{}")
    assert [place.id for place in shelf.places()] == [real]


def test_everything_is_synced_before_store_returns(shelf, monkeypatch):
    """Both files are synced before they get their names, and the directory after the last of them."""
    seen = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (seen.append("dir" if os.path.isdir(f"/dev/fd/{fd}") else "file"), fsync(fd))
    )
    monkeypatch.setattr(os, "rename", lambda a, b, **k: (seen.append(b[-4:]), rename(a, b, **k)))
    shelf.store(new_id(), BODY, b"{}", never)
    assert seen == ["file", "file", "data", "json", "dir"]


def test_entries_come_oldest_first(shelf):
    """Ids sort by time, and so do the listings; sizes count the data alone for people, both files for room."""
    first, second = new_id(lambda: 1), new_id(lambda: 2_000_000)
    shelf.store(second, MemoryBody(b""), b'{"n": 2}', never)
    shelf.store(first, MemoryBody(b"abc"), b'{"n": 1}', never)
    assert [(e.id, e.size, e.metadata["n"]) for e in shelf.entries()] == [(first, 3, 1), (second, 0, 2)]
    assert [(p.id, p.size) for p in shelf.places()] == [(first, 11), (second, 8)]


def test_an_id_is_used_once(shelf):
    """An entry is never overwritten, and the failed attempt leaves the first as it was."""
    entry = new_id()
    shelf.store(entry, MemoryBody(b"one"), b"{}", never)
    with pytest.raises(FileExistsError):
        shelf.store(entry, MemoryBody(b"two"), b"{}", never)
    assert (shelf.directory / f"{entry}.data").read_bytes() == b"one"
    assert len(names(shelf)) == 2


def test_an_interrupted_entry_leaves_nothing(shelf):
    """Whoever loses interest, at whatever chunk, finds nothing half."""
    for patience in (0, 1, 2):
        answers = iter([False] * patience + [True] * 9)
        with pytest.raises(Interrupted):
            shelf.store(new_id(), MemoryBody(bytes(2 * 1024 * 1024)), b"{}", answers.__next__)
        assert names(shelf) == []


def test_a_spool_that_ends_early_leaves_nothing(shelf):
    """A body shorter than it said is an error and no entry."""

    class Short(MemoryBody):
        def read(self, offset: int, size: int) -> bytes:
            return super().read(offset, size) if offset == 0 else b""

    body = Short(bytes(3 * 1024 * 1024))
    with pytest.raises(OSError, match="ended early"):
        shelf.store(new_id(), body, b"{}", never)
    assert names(shelf) == []


@pytest.mark.parametrize("failing", ["data", "json", "fsync"])
def test_a_failure_at_any_step_leaves_nothing(shelf, monkeypatch, failing):
    """Whichever rename or sync fails, no file stays behind."""
    rename = os.rename

    def fail(*args, **kwargs):
        if failing == "fsync" or args[1].endswith(failing):
            raise OSError(5, "broken disk")
        return rename(*args, **kwargs)

    monkeypatch.setattr(os, "fsync" if failing == "fsync" else "rename", fail)
    with pytest.raises(OSError, match="broken disk"):
        shelf.store(new_id(), BODY, b"{}", never)
    assert names(shelf) == []


def leave_halves(shelf, entry):
    for name in (f"{entry}.data.tmp", f"{new_id()}.json.tmp", f"{new_id()}.data", f"{new_id()}.json"):
        (shelf.directory / name).write_bytes(b"{}")


def test_half_entries_are_never_listed_and_cleared_at_start(shelf):
    """What a crash left at whatever point is no entry, and is gone after the next start; whole ones stay."""
    entry = new_id()
    shelf.store(entry, BODY, b"{}", never)
    leave_halves(shelf, new_id())
    (shelf.directory / ".gitkeep").touch()
    assert [e.id for e in shelf.entries()] == [entry] == [p.id for p in shelf.places()]
    shelf.prepare()
    assert names(shelf) == sorted([".gitkeep", f"{entry}.data", f"{entry}.json"])


def test_another_process_that_is_writing_is_left_alone(shelf):
    """While a writer holds the directory, a starting process clears nothing away."""
    leave_halves(shelf, new_id())
    writer = os.open(shelf.directory, os.O_RDONLY)
    fcntl.flock(writer, fcntl.LOCK_SH)
    shelf.prepare()
    assert len(names(shelf)) == 4
    os.close(writer)
    shelf.prepare()
    assert names(shelf) == []


WRITER = """
import sys
from pathlib import Path
from inspection.record import new_id
from inspection.shelf import Shelf
from scanners.body import MemoryBody
while True:
    entry = new_id()
    Shelf(Path(sys.argv[1])).store(entry, MemoryBody(bytes(1_000_000)), b"{}", lambda: False)
    print(entry, flush=True)
"""


def test_killed_while_writing(shelf):
    """After kill -9 every entry that was promised is there in full, and the next start leaves nothing half."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(shelf.directory)], stdout=subprocess.PIPE) as writer:
        promised = [writer.stdout.readline().decode().strip() for _ in range(5)]
        writer.kill()
    shelf.prepare()
    kept = shelf.entries()
    assert set(promised) <= {entry.id for entry in kept}
    assert {entry.size for entry in kept} == {1_000_000}
    assert len(names(shelf)) == 2 * len(kept)


def test_a_loose_directory_of_ours_is_closed(tmp_path):
    """A directory that holds nothing but ours is made 0700."""
    (tmp_path / ".gitkeep").touch()
    tmp_path.chmod(0o755)
    Shelf(tmp_path).prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("sticky", [False, True])
def test_a_loose_directory_of_others_is_refused(tmp_path, sticky):
    """A directory with foreign files, or a shared one such as /tmp, is refused and left as it is."""
    tmp_path.chmod(0o1777 if sticky else 0o755)
    if not sticky:
        (tmp_path / "passwd").touch()
    with pytest.raises(PermissionError, match="0700"):
        Shelf(tmp_path).prepare()
    assert tmp_path.stat().st_mode & 0o777 in (0o777, 0o755)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": "' + b"x" * 2**21 + b'"}'])
def test_broken_metadata_is_not_listed(shelf, text):
    """Metadata that is no JSON object, or larger than ours ever is, is passed over."""
    entry = new_id()
    shelf.store(entry, BODY, text, never)
    assert shelf.entries() == []


def test_links_are_not_followed(shelf, tmp_path):
    """A link in the place of a metadata file is not read through."""
    (tmp_path / "secret").write_text('{"password": 1}')
    entry = new_id()
    (shelf.directory / f"{entry}.json").symlink_to(tmp_path / "secret")
    (shelf.directory / f"{entry}.data").touch()
    assert shelf.entries() == []


def test_remove_takes_both_files_and_may_be_repeated(shelf):
    """A removed entry is gone; removing it again is no error."""
    entry = new_id()
    shelf.store(entry, BODY, b"{}", never)
    shelf.remove(entry)
    shelf.remove(entry)
    assert names(shelf) == []
