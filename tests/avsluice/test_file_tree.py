"""The files under the names on a command line."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from avsluice.file_tree import Entry, walk


def test_directories_are_walked_in_order(tmp_path: Path):
    """The files of a directory come by name, then its directories; links inside are left alone."""
    for name in ("b", "a", "sub/c", "sub/deep/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to(".")
    root = str(tmp_path)
    assert [e.path for e in walk([root])] == [f"{root}/{n}" for n in ("a", "b", "sub/c", "sub/deep/d")]


def test_a_named_link_is_followed(tmp_path: Path):
    """Who names a link means what it leads to, file or directory."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "to-d").symlink_to("d")
    (tmp_path / "to-f").symlink_to("d/f")
    found = list(walk([f"{tmp_path}/to-d", f"{tmp_path}/to-f"]))
    assert found == [Entry(f"{tmp_path}/to-d/f"), Entry(f"{tmp_path}/to-f", named=True)]


def test_what_is_no_file_is_told(tmp_path: Path):
    """Pipes, sockets and what is not there are entries, too, but not to be scanned."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        found = list(walk([str(tmp_path), f"{tmp_path}/none"]))
    assert [(e.special, e.trouble, e.is_file) for e in found] == [
        ("a named pipe", "", False),
        ("a socket", "", False),
        ("", "No such file or directory", False),
    ]


def test_a_directory_that_goes_away_is_told(tmp_path: Path):
    """A directory that cannot be read any more does not end the walk."""
    (tmp_path / "a").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "b").touch()
    steps = walk([str(tmp_path)])
    assert next(steps).path.endswith("/a")
    (tmp_path / "gone").rmdir()
    assert [(Path(e.path).name, e.trouble) for e in steps] == [("gone", "No such file or directory"), ("b", "")]
