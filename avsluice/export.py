"""Writing an entry's original bytes somewhere.

Rules of this file: nothing is overwritten unless asked for; a file is whole or not there; what was kept is compared
with its SHA-256, and bytes that differ are not handed out as the original.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from avsluice.kept import Kept

CHUNK = 1024 * 1024


class Damaged(OSError):
    """The bytes are not those that were kept."""


def read_chunks(kept: Kept) -> Iterator[bytes]:
    """The original bytes. OSError; `Damaged` behind the last of them where they are not those that were kept."""
    digest = hashlib.sha256()
    with kept.store.shelf.open_data(kept.id) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            yield chunk
    if kept.known.get("sha256") != digest.hexdigest():
        raise Damaged(errno.EIO, "the bytes on disk are not those that were kept", kept.id)


def read_head(kept: Kept, size: int) -> bytes:
    """The first bytes."""
    with kept.store.shelf.open_data(kept.id) as stream:
        return stream.read(size)


def read_whole(kept: Kept, most: int) -> bytes:
    """All of it, at most `most` bytes; OSError where there are more."""
    if kept.entry.size > most:
        raise OSError(errno.EFBIG, f"{kept.entry.size} bytes are too many to send; export it", kept.id)
    return b"".join(read_chunks(kept))


def write_to_stdout(kept: Kept) -> None:
    """To standard output, as bytes."""
    sys.stdout.flush()
    for chunk in read_chunks(kept):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def choose_path(kept: Kept, output: Path) -> Path:
    """In a directory a name of ours: the id, with `.eml` for a mail and `.bin` for anything else, so that nothing
    is opened by the program that a virus would like."""
    return output / f"{kept.id}{'.eml' if kept.is_mail else '.bin'}" if output.is_dir() else output


def write_file(kept: Kept, path: Path, *, force: bool) -> None:
    """Makes a file of mode 0600 at `path`. FileExistsError where something is there, unless `force`."""
    if not force and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "is there already; --force overwrites it", str(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(partial, flags, 0o600), "wb") as stream:
            _copy(kept, stream)
        if force:
            os.replace(partial, path)
        else:
            os.link(partial, path)  # unlike a rename it fails where somebody was quicker
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def _copy(kept: Kept, stream: BinaryIO) -> None:
    for chunk in read_chunks(kept):
        stream.write(chunk)
    stream.flush()
    os.fsync(stream.fileno())
