"""A file as a body."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from avsluice.file_body import SMALL, FileBody


def test_it_reads_like_any_body(tmp_path: Path):
    """Size, pieces, digest and descriptors are those of the file; each descriptor has a position of its own."""
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    with FileBody(str(path)) as body:
        assert (body.size, body.read(8, 5), body.read(10, 5)) == (10, b"89", b"")
        assert body.sha256 == hashlib.sha256(b"0123456789").hexdigest()
        one, other = body.descriptor(), body.descriptor()
        assert (os.read(one, 4), os.read(other, 4)) == (b"0123", b"0123")
        os.close(one)
        os.close(other)
        assert not body.changed()


async def test_a_large_file_is_hashed_in_a_thread(tmp_path: Path):
    """The digest made in a thread is the same, and is kept."""
    path = tmp_path / "f"
    path.write_bytes(data := os.urandom(3 * SMALL))
    with FileBody(str(path)) as body:
        assert await body.hash() == hashlib.sha256(data).hexdigest() == body.sha256


def test_what_was_appended_is_not_read(tmp_path: Path):
    """Nothing behind the size at opening is handed out."""
    path = tmp_path / "f"
    path.write_bytes(b"ab")
    with FileBody(str(path)) as body, path.open("ab") as more:
        more.write(b"cd")
        more.flush()
        assert body.read(0, 10) == b"ab"
        assert body.changed()


@pytest.mark.parametrize("how", ["written", "replaced", "removed", "dated back"])
def test_every_change_is_noticed(tmp_path: Path, how: str):
    """Other bytes of the same length, another file under the name, none, and a time that was set are changes."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1))
    with FileBody(str(path)) as body:
        if how == "written":
            path.write_bytes(b"xyz")
        elif how == "replaced":
            other = tmp_path / "g"
            other.write_bytes(b"abc")
            other.rename(path)
        elif how == "removed":
            path.unlink()
        else:
            os.utime(path, ns=(2, 2))
        assert body.changed()


def test_a_link_is_opened_only_if_it_was_named(tmp_path: Path):
    """A symbolic link is refused unless it may be followed."""
    (tmp_path / "f").write_bytes(b"x")
    link = tmp_path / "l"
    link.symlink_to("f")
    with pytest.raises(OSError, match="symbolic"):
        FileBody(str(link))
    with FileBody(str(link), follow=True) as body:
        assert body.read(0, 1) == b"x"
        assert not body.changed()


def test_a_pipe_is_refused_at_once(tmp_path: Path):
    """A named pipe without a writer does not hold us up."""
    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match="not a regular file"):
        FileBody(str(tmp_path / "p"))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
def test_a_file_that_denies_its_bytes_is_refused():
    """A kernel's file says that it has no bytes, and has some: its emptiness is not believed."""
    with pytest.raises(OSError, match="size"):
        FileBody("/proc/self/status")


def test_refusals_leave_no_descriptor_behind(tmp_path: Path):
    """Whatever is refused is closed."""
    os.mkfifo(tmp_path / "p")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="regular"):
            FileBody(str(tmp_path / "p"))
    assert len(os.listdir("/proc/self/fd")) == before
