"""Where a local clamd keeps its signatures, and whether they changed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from scanners.clamd import database
from scanners.clamd.database import find_database, stamp_database
from scanners.clamd.net import ClamavNet, Transport
from tests.real.clamd_server import ClamdServer


@pytest.mark.clamd
def test_a_running_clamd_is_asked_for_nothing(real_clamd: ClamdServer) -> None:
    """The kernel knows who listens, the command line its configuration, and that the directory."""
    assert find_database(str(real_clamd.unix)) == real_clamd.database


def test_the_usual_configuration_serves_where_it_names_the_socket(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that is no clamd (systemd's socket) leads to the clamd.conf with that LocalSocket, and to no other."""
    path, configuration = short_directory / "s", short_directory / "clamd.conf"
    configuration.write_text(f'# ours\nLocalSocket {path}\nDatabaseDirectory "{short_directory}/db"\n')
    monkeypatch.setattr(database, "_CONFIGURATIONS", (str(short_directory / "none"), str(configuration)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert find_database(str(path)) == short_directory / "db"
    assert find_database(str(short_directory / "other")) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-c", "/a.conf"], "/a.conf"),
        (["--foreground", "--config-file=/b.conf"], "/b.conf"),
        (["--config-file", "/c.conf", "-F"], "/c.conf"),
    ],
)
def test_the_command_line_is_read_as_clamd_reads_it(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three ways to name a configuration file."""
    monkeypatch.setattr(database, "_read_arguments", lambda process: arguments)
    assert database._find_configurations("/nowhere") == [Path(expected)]


def test_any_change_of_a_file_changes_the_stamp(tmp_path: Path) -> None:
    """Added, replaced in place with the same size, removed: each is another stamp; nothing done is none."""
    stamps = [stamp_database(tmp_path)]
    file = tmp_path / "local.ndb"
    file.write_text("one")
    stamps.append(stamp_database(tmp_path))
    assert stamp_database(tmp_path) == stamps[-1]
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    stamps.append(stamp_database(tmp_path))
    file.unlink()
    assert stamp_database(tmp_path) == stamps[0]
    assert len(set(stamps)) == 3


def test_what_cannot_be_read_has_no_stamp(tmp_path: Path) -> None:
    """No directory is no stamp, and no exception."""
    assert stamp_database(tmp_path / "none") == ""


@pytest.mark.clamd
async def test_engines_tell_a_change_of_a_local_clamds_database(real_clamd: ClamdServer) -> None:
    """By socket a new file is seen, without clamd being told; by TCP nothing is known."""
    local, remote = ClamavNet(real_clamd.unix, Transport.FILDES), ClamavNet(real_clamd.tcp, Transport.INSTREAM)
    before = await local.stamp()
    added = real_clamd.database / "added.hsb"
    added.write_text("")
    try:
        assert "" != await local.stamp() != before
    finally:
        added.unlink()
    assert (await local.stamp() == before, await remote.stamp()) == (True, "")
