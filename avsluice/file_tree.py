"""The files under the names on a command line.

Rules of this file: everything that is there is told, but symbolic links inside a directory, which are left alone; a
link that was named is followed; nothing is opened here; one directory's names are in memory at a time, and the
names of the directories still to come.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to scan, or what cannot be one: `special` says what it is instead, `trouble` why nobody can tell.
    `named`: it stood on the command line itself."""

    path: str
    named: bool = False
    special: str = ""
    trouble: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is to be scanned."""
        return not self.special and not self.trouble


def walk(paths: Iterable[str]) -> Iterator[Entry]:
    """Files and directories, those recursively: the files of one by name, then its directories. Never raises."""
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except OSError as why:
            yield _trouble(path, why)
            continue
        if stat.S_ISDIR(mode):
            yield from _walk_directory(path)
        else:
            yield _entry(path, mode, named=True)


def _walk_directory(root: str) -> Iterator[Entry]:
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as found:
                names = sorted(entry.name for entry in found)
        except OSError as why:
            yield _trouble(directory, why)
            continue
        inner = []
        for name in names:
            path = os.path.join(directory, name)
            try:
                mode = os.lstat(path).st_mode
            except OSError as why:
                yield _trouble(path, why)
                continue
            if stat.S_ISDIR(mode):
                inner.append(path)
            elif not stat.S_ISLNK(mode):
                yield _entry(path, mode)
        waiting += reversed(inner)


def _entry(path: str, mode: int, *, named: bool = False) -> Entry:
    if stat.S_ISREG(mode):
        return Entry(path, named)
    return Entry(path, named, special=_KINDS.get(stat.S_IFMT(mode), "no regular file"))


def _trouble(path: str, why: OSError) -> Entry:
    return Entry(path, trouble=why.strerror or str(why))
