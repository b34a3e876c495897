"""Bodies that need no spool."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os

import pytest

from scanners import body
from scanners.body import MemoryBody, SparseBody


def read_all(made: SparseBody, step: int) -> bytes:
    offset, parts = 0, []
    while part := made.read(offset, step):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


@pytest.fixture(params=["memory", "disk"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where descriptors come from."""
    if request.param == "disk":
        monkeypatch.delattr(os, "memfd_create")
    return str(request.param)


def test_memory_body_gives_its_bytes() -> None:
    """What goes in comes out, by size, digest and any range."""
    made = MemoryBody(b"0123456789")
    assert (made.size, made.read(3, 4), made.read(8, 100), made.read(10, 1)) == (10, b"3456", b"89", b"")
    assert made.sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_descriptor_holds_the_bytes_and_nothing_can_be_written(kind: str) -> None:
    """A descriptor stands at 0, is read-only, and is not passed on to child processes."""
    descriptor = MemoryBody(b"abc").descriptor()
    try:
        assert os.read(descriptor, 10) == b"abc"
        with pytest.raises(OSError, match="Bad file") as refused:
            os.write(descriptor, b"x")
        assert refused.value.errno == errno.EBADF
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    finally:
        os.close(descriptor)


def test_descriptors_share_no_position(kind: str) -> None:
    """Reading one descriptor leaves another where it was."""
    made = MemoryBody(b"abc")
    one, other = made.descriptor(), made.descriptor()
    try:
        os.read(one, 2)
        assert os.read(other, 3) == b"abc"
    finally:
        os.close(one)
        os.close(other)


def test_nothing_stays_on_disk(kind: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file behind a descriptor has no name any more."""
    monkeypatch.setattr(body.tempfile, "tempdir", str(tmp_path))
    descriptor = MemoryBody(b"abc").descriptor()
    os.close(descriptor)
    assert os.listdir(str(tmp_path)) == []


def test_without_proc_a_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a memfd cannot be opened anew, an unlinked file takes its place."""

    def refuse(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(body, "_publish_in_memory", refuse)
    descriptor = MemoryBody(b"abc").descriptor()
    try:
        assert os.pread(descriptor, 3, 0) == b"abc"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_sparse_body_is_zeros_with_pieces(step: int) -> None:
    """Pieces stand where they should whatever the chunks are."""
    made = SparseBody(300, [(0, b"begin"), (150, b"middle"), (297, b"end")])
    expected = b"begin" + bytes(145) + b"middle" + bytes(141) + b"end"
    assert read_all(made, step) == expected
    assert made.sha256 == hashlib.sha256(expected).hexdigest()


def test_sparse_descriptor_equals_what_is_read(kind: str) -> None:
    """By descriptor the same bytes come as by reading."""
    made = SparseBody(100_000, [(99_000, b"piece")])
    descriptor = made.descriptor()
    try:
        assert os.pread(descriptor, 200_000, 0) == read_all(made, 4096)
    finally:
        os.close(descriptor)


def test_sparse_descriptor_occupies_next_to_nothing() -> None:
    """Filler takes no room."""
    descriptor = SparseBody(100 << 20, [((100 << 20) - 4, b"tail")]).descriptor()
    try:
        assert os.fstat(descriptor).st_blocks * 512 < 64 * 1024
    finally:
        os.close(descriptor)


def test_a_large_read_of_zeros_is_whole() -> None:
    """More zeros than are kept ready come all the same."""
    assert SparseBody(1 << 20, []).read(0, 1 << 20) == bytes(1 << 20)


def test_a_piece_outside_is_refused() -> None:
    """A body that could not hold its pieces is not made."""
    with pytest.raises(ValueError, match="outside"):
        SparseBody(3, [(1, b"abc")])
