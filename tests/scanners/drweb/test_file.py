"""drwebd that is given a path: what only a path can bring about. The rest of its contract is in test_net."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody
from scanners.comm_dir import CommDir
from scanners.drweb.file import DrwebFile
from scanners.drweb.wire import scan_path
from scanners.fake_drweb import FakeDrweb
from scanners.fake_drweb_table import Code
from tests.scanners.disks import tiny_disk
from tests.scanners.scripted import CLEAN, INFECTED


def link_elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("trick", [link_elsewhere, Path.unlink, lambda p: p.write_text("x"), lambda p: p.chmod(0)])
async def test_a_changed_file_is_never_free(short_directory: Path, trick: Callable[[Path], object]) -> None:
    """Clean was said of something that is not there any more: an error. A virus was found all the same."""
    async with FakeDrweb(short_directory / "s") as fake:
        fake.scanned = trick
        engine = DrwebFile(fake.address, CommDir(short_directory))
        assert (await engine.ask(CLEAN)).status is Status.ERROR
        assert (await engine.ask(INFECTED)).status is Status.FOUND
        await engine.close()


async def test_what_is_no_regular_file_was_not_scanned(short_directory: Path) -> None:
    """The daemon's own words for links, fifos, missing files: never free."""
    (short_directory / "link").symlink_to("/etc/hostname")
    os.mkfifo(short_directory / "fifo")
    async with FakeDrweb(short_directory / "s") as fake:
        for name, code in (("link", Code.SYMLINK), ("fifo", Code.NO_REGFILE), ("missing", Code.READ_ERR)):
            said = await scan_path(fake.address, os.fsencode(short_directory / name))
            assert said.reply is not None
            assert said.reply.code == code


async def test_the_directory_comes_and_goes(short_directory: Path) -> None:
    """Without comm-dir every answer is an error; it is not made; once it is there all is well."""
    directory = short_directory / "d"
    async with FakeDrweb(short_directory / "s") as fake:
        engine = DrwebFile(fake.address, CommDir(directory))
        assert (await engine.ask(INFECTED)).status is Status.ERROR
        assert not directory.exists()
        directory.mkdir()
        assert (await engine.ask(INFECTED)).status is Status.FOUND
        await engine.close()


async def test_a_full_disk(short_directory: Path) -> None:
    """No room is an error, and leaves nothing."""
    directory = short_directory / "d"
    directory.mkdir()
    with tiny_disk(directory):
        async with FakeDrweb(short_directory / "s") as fake:
            engine = DrwebFile(fake.address, CommDir(directory))
            answer = await engine.ask(MemoryBody(b"x" * 200_000))
            assert (answer.status, "No space left" in answer.detail) == (Status.ERROR, True)
            assert list(directory.iterdir()) == []
            await engine.close()


@pytest.mark.parametrize("name", [b"new\nline", b"a infected with b", b"\xff"])
async def test_any_name_will_do(short_directory: Path, name: bytes) -> None:
    """Paths have a length, not an end: any byte may be in them."""
    directory = os.fsencode(short_directory) + b"/" + name
    os.mkdir(directory)
    async with FakeDrweb(short_directory / "s") as fake:
        engine = DrwebFile(fake.address, CommDir(Path(os.fsdecode(directory))))
        assert (await engine.ask(CLEAN)).status is Status.FREE
        assert (await engine.ask(INFECTED)).status is Status.FOUND
        await engine.close()


async def test_path_map(short_directory: Path) -> None:
    """A daemon in another root is told its own name of the directory."""
    ours, theirs = short_directory / "ours", short_directory / "theirs"
    ours.mkdir()
    theirs.symlink_to(ours)
    async with FakeDrweb(short_directory / "s") as fake:
        engine = DrwebFile(fake.address, CommDir(ours, {str(ours): str(theirs)}))
        assert (await engine.ask(CLEAN)).status is Status.FREE
        assert Path(os.fsdecode(fake.requests[0].path or b"")).parent == theirs
        await engine.close()


def test_it_names_itself(tmp_path: Path) -> None:
    """str() says what it is, where, and how it is reached."""
    engine = DrwebFile(Address(unix="/run/drwebd"), CommDir(tmp_path))
    assert str(engine) == f"drwebd at /run/drwebd by path in {tmp_path}"
    assert (engine.protocol, engine.coverage) == ("drweb-file", Coverage.FULL)
