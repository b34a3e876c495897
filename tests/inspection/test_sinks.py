"""The audit's sinks against real descriptors, files, FIFOs and datagram sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from inspection import sinks
from inspection.sinks import DescriptorSink, FileSink, SyslogSink, open_sink, take_turns


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """A stall is noticed at once."""
    monkeypatch.setattr("inspection.sinks._PATIENCE", 10)


def patient() -> bool:
    return True


def impatient() -> bool:
    return False


@contextmanager
def pipe():
    reader, writer = os.pipe()
    ends = {reader, writer}
    yield reader, writer, ends
    for end in ends:
        os.close(end)


def fill(writer: int) -> int:
    os.set_blocking(writer, False)
    filled = 0
    while True:
        try:
            filled += os.write(writer, b"x" * 4096)
        except BlockingIOError:
            return filled


def test_lines_get_their_ends():
    """Every line ends in a newline, and nothing is lost on a working descriptor."""
    with pipe() as (reader, writer, _):
        assert DescriptorSink(writer).deliver([b"one", b"two"], patient) == (0, "")
        assert os.read(reader, 99) == b"one\ntwo\n"


def test_a_stalled_reader_costs_lines_not_the_thread():
    """A full pipe is given up once `wait` says so, and the loss names the reader."""
    with pipe() as (reader, writer, _):
        filled = fill(writer)
        lost, why = DescriptorSink(writer).deliver([b"one", b"two"], impatient)
        assert (lost, why) == (2, "the reader does not keep up")
        assert len(os.read(reader, filled + 99)) == filled


def test_a_gone_reader_costs_lines():
    """A closed pipe loses every line and says why."""
    with pipe() as (reader, writer, ends):
        os.close(reader)
        ends.remove(reader)
        assert DescriptorSink(writer).deliver([b"one"], patient) == (1, "Broken pipe")


def test_a_torn_line_is_closed_before_the_next():
    """After a line that was written in part, the next begins on a line of its own, and only the torn one is lost."""
    with pipe() as (reader, writer, _):
        filled = fill(writer)
        sink = DescriptorSink(writer)
        os.read(reader, 4096)
        lost, _why = sink.deliver([b"a" * 5000, b"b"], impatient)
        assert lost == 2
        assert len(os.read(reader, filled + 9999)) == filled
        sink.deliver([b"next"], patient)
        assert os.read(reader, 99) == b"\nnext\n"
        sink.deliver([b"more"], patient)
        assert os.read(reader, 99) == b"more\n"


def test_file_is_appended_to_and_private(tmp_path):
    """A log file is made for owner and group only, and an old one is added to."""
    path = tmp_path / "audit.log"
    with closing(FileSink(path)) as sink:
        sink.deliver([b"one"], patient)
    with closing(FileSink(path)) as sink:
        sink.deliver([b"two"], patient)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o027 == 0


def test_file_that_was_rotated_away_is_made_anew(tmp_path):
    """After a rename or a removal the next lines go to a file of the old name."""
    path = tmp_path / "audit.log"
    with closing(FileSink(path)) as sink:
        sink.deliver([b"one"], patient)
        path.rename(tmp_path / "audit.log.1")
        sink.deliver([b"two"], patient)
        assert path.read_bytes() == b"two\n"
        path.unlink()
        sink.deliver([b"three"], patient)
    assert path.read_bytes() == b"three\n"
    assert (tmp_path / "audit.log.1").read_bytes() == b"one\n"


def test_file_goes_on_where_it_was_when_it_cannot_be_made_anew(tmp_path):
    """A log directory that went away loses nothing: the lines follow the moved file."""
    old = tmp_path / "old"
    old.mkdir()
    with closing(FileSink(old / "audit.log")) as sink:
        old.rename(tmp_path / "new")
        assert sink.deliver([b"one"], patient) == (0, "")
        with pytest.raises(FileNotFoundError):
            sink.reopen()
    assert (tmp_path / "new" / "audit.log").read_bytes() == b"one\n"


def test_full_disk_is_told():
    """A disk without room loses the lines and names the cause."""
    sink = DescriptorSink(os.open("/dev/full", os.O_WRONLY))
    assert sink.deliver([b"one", b"two"], patient) == (2, "No space left on device")


def test_fifo_without_a_reader_is_an_error_at_once(tmp_path):
    """A FIFO that nobody reads is refused at start instead of hanging there."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="fifo"):
        open_sink(tmp_path / "fifo")


def test_a_file_that_cannot_be_opened_names_itself(tmp_path):
    """A missing directory is an error at start that names the path."""
    with pytest.raises(FileNotFoundError, match=r"missing/audit\.log"):
        open_sink(tmp_path / "missing" / "audit.log")


@contextmanager
def daemon(path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        yield listener
    path.unlink(missing_ok=True)


def test_syslog_gets_one_message_a_line(tmp_path):
    """Each line is a datagram of priority daemon.info with our name and process id."""
    path = tmp_path / "log"
    with daemon(path) as listener, closing(open_sink("syslog", str(path))) as sink:
        assert sink.deliver([b"{}", b"[]"], patient) == (0, "")
        assert listener.recv(999) == b"<30>avsluice[%d]: {}" % os.getpid()
        assert listener.recv(999).endswith(b": []")


def test_syslog_that_was_restarted_is_found_again(tmp_path):
    """A log daemon that comes back on the same socket gets the next line; while it is away lines are lost."""
    path = tmp_path / "log"
    with daemon(path):
        sink = SyslogSink(str(path))
    with closing(sink):
        lost, why = sink.deliver([b"one", b"two"], patient)
        assert lost == 2
        assert why
        with daemon(path) as listener:
            assert sink.deliver([b"three"], patient) == (0, "")
            assert listener.recv(999).endswith(b"three")


def test_a_line_too_long_for_syslog_costs_only_itself(tmp_path):
    """A message above the socket's limit is lost alone."""
    path = tmp_path / "log"
    with daemon(path) as listener, closing(SyslogSink(str(path))) as sink:
        lost, why = sink.deliver([b"x" * 10_000_000, b"two"], patient)
        assert (lost, why) == (1, "Message too long")
        assert listener.recv(999).endswith(b"two")


def test_missing_syslog_is_an_error_at_start(tmp_path):
    """A system without a log socket is told at start."""
    with pytest.raises(FileNotFoundError):
        open_sink("syslog", str(tmp_path / "none"))


WRITER = """
import sys
from inspection.sinks import DescriptorSink, take_turns
take_turns(int(sys.argv[1]))
lines = [sys.argv[2].encode() * 20_000] * 10
sink = DescriptorSink(1)
for _ in range(10):
    assert sink.deliver(lines, lambda: True) == (0, "")
"""


def test_lines_of_several_processes_stay_whole():
    """Longer ones than a pipe takes in one go, three processes on one pipe."""
    lock = os.memfd_create("lock")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with pipe() as (reader, writer, ends):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(lock), letter], env=env, stdout=writer, pass_fds=[lock])
            for letter in "abc"
        ]
        os.close(writer)
        ends.discard(writer)
        with open(os.dup(reader), "rb") as told:
            lines = told.read().splitlines()
        assert [one.wait() for one in writers] == [0, 0, 0]
    os.close(lock)
    assert {len(line) for line in lines} == {20_000}
    assert sorted(line[:1] for line in lines) == [b"a"] * 100 + [b"b"] * 100 + [b"c"] * 100
    assert all(line == line[:1] * 20_000 for line in lines)


def test_a_turn_that_does_not_come_costs_lines(monkeypatch):
    """Another process holds it: the sink asks whether to wait, and gives up when told."""
    lock = os.memfd_create("lock")
    holder = "import fcntl,sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    monkeypatch.setattr(sinks, "_turns", None)
    with (
        subprocess.Popen(
            [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lock]
        ) as other,
        pipe() as (reader, writer, _),
    ):
        other.stdout.readline()
        take_turns(lock)
        sink = DescriptorSink(writer)
        lost, why = sink.deliver([b"one", b"two"], impatient)
        assert (lost, why) == (2, "another process writes for too long")
        other.stdin.close()
        other.wait()
        assert sink.deliver([b"three"], patient) == (0, "")
        assert os.read(reader, 100) == b"three\n"
        fcntl.lockf(lock, fcntl.LOCK_UN)
    os.close(lock)
