"""Spools in a room, in memory and on disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.spool import SpoolFull, SpoolRoom


@pytest.fixture
def room(tmp_path: Path) -> SpoolRoom:
    return SpoolRoom(tmp_path, memory=1000, max_object=5000, max_total=8000)


@given(st.lists(st.binary(max_size=700), max_size=8))
def test_what_goes_in_comes_out(pieces: list[bytes]) -> None:
    """Bytes, length and digest are those of what was appended, wherever the spool kept them."""
    whole = b"".join(pieces)
    spool = SpoolRoom(memory=1000).open()
    for piece in pieces:
        spool.append(piece)
    spool.finish()
    assert spool.read(0, len(whole) + 1) == whole
    assert spool.size == len(whole)
    assert spool.sha256 == hashlib.sha256(whole).hexdigest()
    assert spool.in_memory == (len(whole) <= 1000)
    spool.close()


def test_a_growing_spool_is_readable(room: SpoolRoom) -> None:
    """What is here can be read while more arrives, on both sides of the move to disk."""
    spool = room.open()
    spool.append(b"a" * 900)
    assert spool.read(890, 100) == b"a" * 10
    spool.append(b"b" * 900)
    assert not spool.in_memory
    assert spool.read(890, 20) == b"a" * 10 + b"b" * 10
    assert spool.read(1800, 10) == b""


def test_the_file_has_no_name(room: SpoolRoom, tmp_path: Path) -> None:
    """Nothing of a spool lies in the directory, so nothing is left over, whatever happens."""
    spool = room.open()
    spool.append(b"x" * 2000)
    assert not spool.in_memory
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.binary(max_size=9000), max_size=8), st.integers(0, 20_000), st.integers(0, 20_000))
def test_any_part_can_be_read_at_any_time(pieces: list[bytes], offset: int, size: int) -> None:
    """Small pieces are gathered, large ones kept as they came, and some are in the file: a reader sees one object."""
    whole, spool = b"", SpoolRoom(memory=10_000).open()
    for piece in pieces:
        spool.append(piece)
        whole += piece
        assert spool.read(offset, size) == whole[offset : offset + size]
    descriptor = spool.descriptor()
    assert os.pread(descriptor, len(whole) + 1, 0) == whole
    os.close(descriptor)
    spool.close()


def test_many_tiny_pieces_cost_their_bytes(room: SpoolRoom) -> None:
    """A peer that sends byte by byte does not make an object of each."""
    spool = room.open()
    tracemalloc.start()
    for _ in range(900):
        spool.append(b"x")
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert spool.in_memory
    assert grown < 5000


def test_a_write_that_ends_early_goes_on(room: SpoolRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take a part of what it is given."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: real(fd, [pieces[0][:7]], at))
    spool = room.open()
    for piece in (b"a" * 500, b"b" * 499, b"c" * 100):
        spool.append(piece)
    assert spool.read(0, 2000) == b"a" * 500 + b"b" * 499 + b"c" * 100


@pytest.mark.parametrize("size", [10, 2000])
def test_a_descriptor_has_its_own_position(room: SpoolRoom, size: int) -> None:
    """An engine that reads, or seeks, moves nobody else's position, and cannot write."""
    spool = room.open()
    spool.append(b"y" * size)
    spool.finish()
    first, second = spool.descriptor(), spool.descriptor()
    try:
        assert os.read(first, size) == b"y" * size
        assert os.read(second, size) == b"y" * size
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(first, b"no")
    finally:
        os.close(first)
        os.close(second)


def test_an_object_has_a_cap(room: SpoolRoom) -> None:
    """A byte above max-object is refused before it is kept, and the cap is named."""
    spool = room.open()
    spool.append(b"z" * 5000)
    with pytest.raises(SpoolFull, match="max-object 5000"):
        spool.append(b"z")
    assert spool.size == 5000


def test_all_objects_together_have_a_cap(room: SpoolRoom) -> None:
    """max-total bounds the sum, and a closed spool gives its part back."""
    first, second = room.open(), room.open()
    first.append(b"1" * 5000)
    second.append(b"2" * 3000)
    with pytest.raises(SpoolFull, match="max-total 8000"):
        second.append(b"2")
    first.close()
    first.close()
    assert room.used == 3000
    second.append(b"2")


def test_a_finished_spool_is_frozen(room: SpoolRoom) -> None:
    """What an engine has begun to read never changes."""
    spool = room.open()
    spool.finish()
    with pytest.raises(ValueError, match="does not grow"):
        spool.append(b"more")


FULL_DISK = """
import pathlib, resource, signal, sys
from inspection.spool import SpoolRoom

# No file of this process may grow beyond 4096 bytes.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
room = SpoolRoom(pathlib.Path(sys.argv[1]), memory=100)
spool = room.open()
spool.append(b"k" * 4000)
try:
    spool.append(b"k" * 4000)
except OSError as error:
    print(error.strerror, spool.read(3990, 100) == b"k" * 10, room.used)
spool.close()
print(room.used)
"""


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """The disk's refusal comes out as OSError; what was kept before stays readable and nothing is counted twice."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines() == ["File too large True 4000", "0"]
