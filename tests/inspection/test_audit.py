"""The audit stream: order, rotation, what a failing sink costs, and that writing never waits."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime

import pytest

from inspection.audit import AuditLog, AuditRecord


def record(number: int = 0) -> AuditRecord:
    return AuditRecord(
        time=datetime(2026, 1, 1, tzinfo=UTC), proxy="http-proxy.HTTP", session="s", id=f"{number:020}", action="accept"
    )


def ids(text: str) -> list[int]:
    return [int(json.loads(line)["id"]) for line in text.splitlines()]


def test_records_are_written_in_order(tmp_path):
    """A file gets every record, one a line, in the order of writing, and close waits for the last."""
    log = AuditLog(tmp_path / "audit.log")
    for number in range(1000):
        log.write(record(number))
    log.close()
    assert ids((tmp_path / "audit.log").read_text()) == list(range(1000))
    assert log.lost == 0
    assert "0 lost" in repr(log)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_standard_streams(capfd, name):
    """`stdout` and `stderr` are the process's own descriptors, and stay open."""
    log = AuditLog(name)
    log.write(record(7))
    assert log.flush()
    log.close()
    assert ids(getattr(capfd.readouterr(), name[3:])) == [7]
    os.fstat(1 if name == "stdout" else 2)


def test_reopen_follows_a_rotation(tmp_path):
    """After a rename and `reopen`, later records go to the new file and none is lost."""
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.write(record(1))
    log.flush()
    path.rename(tmp_path / "old")
    log.reopen()
    assert log.flush()
    assert path.read_text() == ""
    log.write(record(2))
    log.close()
    assert ids((tmp_path / "old").read_text()) == [1]
    assert ids(path.read_text()) == [2]


def test_a_failed_reopen_is_told_and_the_old_file_stays(tmp_path, capfd):
    """Where the new file cannot be made, a line says so and the old one goes on."""
    (tmp_path / "d").mkdir()
    log = AuditLog(tmp_path / "d" / "audit.log")
    (tmp_path / "d").rename(tmp_path / "e")
    log.reopen()
    log.write(record(1))
    log.close()
    assert "cannot be opened again" in capfd.readouterr().err
    assert ids((tmp_path / "e" / "audit.log").read_text()) == [1]


def test_losses_are_counted_and_told_once_an_interval(capfd):
    """A full disk costs records, which are counted; standard error says so once per interval with the cause."""
    now = [0.0]
    log = AuditLog("/dev/full", complain_every=10, clock=lambda: now[0])
    for _ in range(3):
        log.write(record())
        log.flush()
    assert log.lost == 3
    now[0] = 11
    log.write(record())
    log.flush()
    log.close()
    told = capfd.readouterr().err.splitlines()
    assert told == [
        "avsluice: audit to /dev/full: 1 records lost so far: No space left on device",
        "avsluice: audit to /dev/full: 4 records lost so far: No space left on device",
    ]


def test_a_stalled_reader_never_blocks_the_writer(tmp_path, capfd):
    """With a reader that does not read, `write` returns at once, and what exceeds the queue is lost and told."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = AuditLog(path, capacity=10)
    began = time.monotonic()
    for number in range(5000):
        log.write(record(number))
    assert time.monotonic() - began < 2
    log.close(timeout=0)
    os.set_blocking(reader, True)
    got = b""
    while block := os.read(reader, 65536):
        got += block
    os.close(reader)
    whole = got.count(b"\n")
    assert 0 < whole < 5000
    assert log.lost == 5000 - whole
    assert "does not keep up" in capfd.readouterr().err


def test_after_close_records_are_lost_and_counted(tmp_path):
    """A record that comes after the end is counted as lost instead of being dropped silently."""
    log = AuditLog(tmp_path / "audit.log")
    log.close()
    log.write(record())
    assert log.lost == 1
    log.close()


def test_a_record_that_cannot_be_written_does_not_end_the_thread(tmp_path, capfd):
    """A broken record is lost and named; the next one is written."""
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.write("no record")  # type: ignore[arg-type]  # that is the point
    log.flush()
    log.write(record(5))
    log.close()
    assert log.lost == 1
    assert ids(path.read_text()) == [5]
    assert "AttributeError" in capfd.readouterr().err


def test_an_unusable_target_is_an_error_at_start(tmp_path):
    """A file in a missing directory raises when the log is opened, not at the first record."""
    threads = threading.active_count()
    with pytest.raises(FileNotFoundError):
        AuditLog(tmp_path / "missing" / "audit.log")
    assert threading.active_count() == threads
