"""Where audit lines end up: a descriptor, a file that may be rotated away, the system's log.

Rules of this file: runs in the audit's own thread and may block there, but asks `wait` once a second whether to
go on; a failure costs lines and is told, it never raises; a line that was torn is closed before the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

SYSLOG = "/dev/log"
_PRIORITY = 3 * 8 + 6  # daemon.info, RFC 3164 section 4.1.1
_PIPE_BUF = 4096  # as much as a pipe that polls writable takes without blocking (POSIX)
_PATIENCE = 1000  # ms until `wait` is asked
_LOOK = 0.005  # seconds between two attempts to take the turn

Wait = Callable[[], bool]
"""Called while a sink cannot take more; False: give up."""


_turns: int | None = None


def take_turns(lock: int) -> None:
    """From now on descriptors are written to in turn with other processes that have this lock, an open file, too: so
    their lines stay whole, which a pipe grants only to lines below 4096 bytes. A record lock (fcntl(2)), for those
    tell processes apart that share one open file, and end with their process."""
    global _turns
    _turns = lock


@contextmanager
def _turn(wait: Wait) -> Iterator[None]:
    """Raises TimeoutError where somebody else holds it for too long."""
    if (lock := _turns) is None:
        yield
        return
    asked_at = time.monotonic()
    while not _take(lock):
        time.sleep(_LOOK)  # the audit's own thread
        if time.monotonic() - asked_at > _PATIENCE / 1000:
            asked_at = time.monotonic()
            if not wait():
                raise TimeoutError(0, "another process writes for too long")
    try:
        yield
    finally:
        fcntl.lockf(lock, fcntl.LOCK_UN)


def _take(lock: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Sink(Protocol):
    """Takes lines without their ends. Opened by its constructor, which raises OSError."""

    def deliver(self, lines: Sequence[bytes], wait: Wait) -> tuple[int, str]:
        """Writes the lines; gives how many were lost, and why ("" where none was)."""

    def reopen(self) -> None:
        """Follows a rotation; raises OSError and goes on with the old one where that fails."""

    def close(self) -> None: ...


class DescriptorSink:
    """An open descriptor, such as standard output; it is not ours to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False

    def deliver(self, lines: Sequence[bytes], wait: Wait) -> tuple[int, str]:
        data = (b"\n" if self._torn else b"") + b"".join(line + b"\n" for line in lines)
        sent = 0
        try:
            with _turn(wait):
                while sent < len(data):
                    sent += self._write(data[sent : sent + _PIPE_BUF], wait)
        except OSError as error:
            rest = data[sent:]
            self._torn = data[:sent][-1:] not in (b"\n", b"") or (self._torn and sent == 0)
            return min(rest.count(b"\n"), len(lines)), error.strerror or str(error)
        self._torn = False
        return 0, ""

    def _write(self, data: bytes, wait: Wait) -> int:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while not poll.poll(_PATIENCE):
            if not wait():
                raise TimeoutError(0, "the reader does not keep up")
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0

    def reopen(self) -> None:
        """A descriptor has no name to open again."""

    def close(self) -> None:
        """The descriptor stays open."""


class FileSink(DescriptorSink):
    """A file, made 0640, appended to; one that was renamed or removed is made anew before the next lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(self._open())

    def _open(self) -> int:
        # O_NONBLOCK: a FIFO without a reader is an error at once instead of a hang.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(self._path, flags, 0o640)

    def deliver(self, lines: Sequence[bytes], wait: Wait) -> tuple[int, str]:
        with suppress(OSError):  # nothing is lost: the lines go where the file was moved to
            if not self._is_current():
                self.reopen()
        return super().deliver(lines, wait)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def reopen(self) -> None:
        descriptor = self._open()
        os.close(self._descriptor)
        self._descriptor, self._torn = descriptor, False

    def close(self) -> None:
        os.close(self._descriptor)


class SyslogSink:
    """The system's log over its local datagram socket, one message a line."""

    def __init__(self, path: str = SYSLOG) -> None:
        self._path = path
        self._tag = b"<%d>avsluice[%d]: " % (_PRIORITY, os.getpid())
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        link.settimeout(1)
        try:
            link.connect(self._path)
        except OSError:
            link.close()
            raise
        return link

    def deliver(self, lines: Sequence[bytes], wait: Wait) -> tuple[int, str]:
        lost, why = 0, ""
        for done, line in enumerate(lines):
            try:
                self._send(self._tag + line, wait)
            except OSError as error:
                lost, why = lost + 1, error.strerror or str(error)
                if error.errno != errno.EMSGSIZE:  # where one line failed for another reason, the rest would
                    return lost + len(lines) - done - 1, why
        return lost, why

    def _send(self, message: bytes, wait: Wait) -> None:
        while True:
            try:
                self._socket.send(message)
                return
            except TimeoutError:
                if not wait():
                    raise
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise
                self.reopen()  # the daemon was restarted; if it is gone this raises
                self._socket.send(message)
                return

    def reopen(self) -> None:
        link = self._connect()
        self._socket.close()
        self._socket = link

    def close(self) -> None:
        self._socket.close()


def open_sink(to: str | Path, syslog: str = SYSLOG) -> Sink:
    """`stdout`, `stderr`, `syslog` or a file. Raises OSError where it cannot be written."""
    if to in ("stdout", "stderr"):
        return DescriptorSink(1 if to == "stdout" else 2)
    return SyslogSink(syslog) if to == "syslog" else FileSink(Path(to))
