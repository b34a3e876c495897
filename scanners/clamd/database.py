"""Where a local clamd keeps its signatures, and whether they changed.

clamd tells the version of ClamAV's own database and nothing of other signatures beside it; no command tells the
directory. But whoever listens on a Unix socket is known to the kernel, and its configuration file is on its command
line or at the usual place.

Rules of this file: every function here blocks and belongs in a thread, where `Database` has it; what
cannot be known is None or "".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import socket
import struct
from pathlib import Path

_CONFIGURATIONS = ("/etc/clamav/clamd.conf", "/etc/clamd.d/scan.conf", "/etc/clamd.conf", "/usr/local/etc/clamd.conf")
_OPTION = "DatabaseDirectory"
_USUAL = Path("/var/lib/clamav")
_CONNECT_WITHIN = 1.0
_FILES = 1000
_CONFIGURATION_LIMIT = 256 * 1024
_UCRED = struct.Struct("3i")


class Database:
    """That of the clamd at `unix`; None: it is reached by TCP, and nothing is known of it."""

    def __init__(self, unix: str | None) -> None:
        self._unix = unix
        self._directory: Path | None = None

    async def stamp(self) -> str:
        """Changes with the directory; "" where it cannot be found out. Works in a thread. Never raises."""
        return "" if self._unix is None else await asyncio.to_thread(self._stamp, self._unix)

    def _stamp(self, unix: str) -> str:
        self._directory = self._directory or find_database(unix)
        return stamp_database(self._directory) if self._directory else ""


def find_database(unix: str) -> Path | None:
    """The database directory of the clamd that listens on this socket, if it can be found out."""
    for configuration in _find_configurations(unix):
        with contextlib.suppress(OSError):
            return _read_directory(configuration) or (_USUAL if _USUAL.is_dir() else None)
    return None


def stamp_database(directory: Path) -> str:
    """Changes whenever a file in it is added, removed or replaced; "" where it cannot be read."""
    try:
        with os.scandir(directory) as found:
            files = [(f.name, f.stat()) for f in itertools.islice(found, _FILES)]
    except OSError:
        return ""
    marks = sorted(f"{name}\0{s.st_mtime_ns}\0{s.st_size}\0{s.st_ino}" for name, s in files)
    return hashlib.sha256("\n".join(marks).encode(errors="surrogateescape")).hexdigest()[:32]


def _find_configurations(unix: str) -> list[Path]:
    """Its own one where it is on the command line; else those at the usual places that name the socket."""
    arguments = _read_arguments(_find_listener(unix))
    for option, value in itertools.pairwise([*arguments, ""]):
        if option in ("-c", "--config-file"):
            return [Path(value)]
        if option.startswith("--config-file="):
            return [Path(option.partition("=")[2])]
    usual = [Path(name) for name in _CONFIGURATIONS]
    return [path for path in usual if _same_socket(_read_option(path, "LocalSocket"), unix)]


def _find_listener(unix: str) -> int:
    """The process that listens (SO_PEERCRED of socket(7)), or 0."""
    with contextlib.suppress(OSError, AttributeError), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_CONNECT_WITHIN)
        sock.connect(unix)
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(raw)[0])
    return 0


def _read_arguments(process: int) -> list[str]:
    """Of a clamd; systemd, which may listen for it, has none that we understand."""
    with contextlib.suppress(OSError):
        name, *arguments = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return arguments if os.path.basename(name) == "clamd" else []
    return []


def _read_directory(configuration: Path) -> Path | None:
    if (value := _read_option(configuration, _OPTION)) is None:
        if not configuration.is_file():
            raise FileNotFoundError(configuration)
        return None
    return Path(value)


def _read_option(configuration: Path, option: str) -> str | None:
    """A clamd.conf(5) line is an option, space, and its value."""
    with contextlib.suppress(OSError), configuration.open(errors="replace") as lines:
        for line in lines.read(_CONFIGURATION_LIMIT).splitlines():
            name, _, value = line.strip().partition(" ")
            if name == option:
                return value.strip().strip('"')
    return None


def _same_socket(named: str | None, unix: str) -> bool:
    return named is not None and os.path.realpath(named) == os.path.realpath(unix)
