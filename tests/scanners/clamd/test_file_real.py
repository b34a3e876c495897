"""clamd that is given a path, the real one: containers, limits, other users, and its own words."""
# ruff: noqa: ASYNC240 - the tests look into directories of their own, and nobody waits for them meanwhile

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.clamd.file import ClamavFile
from scanners.clamd.net import ClamavNet, Transport
from scanners.clamd.replies import judge
from scanners.clamd.wire import send_command
from scanners.comm_dir import CommDir
from scanners.endpoint import Endpoint
from scanners.proof import Proof
from tests.real.clamd_server import TESTFILES, ClamdServer, run_clamd
from tests.scanners.scripted import CLEAN, INFECTED, terms

MIB = 1 << 20


@pytest.fixture
def comm(tmp_path: Path) -> Iterator[Path]:
    """A comm-dir, which must be empty afterwards."""
    yield tmp_path
    assert [*tmp_path.iterdir()] == []


async def scan(address: Address, path: bytes) -> tuple[bytes, Status]:
    """What clamd says of a path, and what we make of it."""
    said = await send_command(address, b"SCAN " + path)
    return said.reply, judge(said, re.compile(re.escape(path))).status


@pytest.mark.clamd
class TestRealClamd:
    """What only the real one can show."""

    @pytest.mark.skipif(not TESTFILES.exists(), reason="clamav-testfiles is not installed: make servers")
    async def test_every_container_of_the_test_set(self, real_clamd: ClamdServer, comm: Path) -> None:
        """Each of ClamAV's own test containers is found, over Unix socket and TCP."""
        files = sorted(TESTFILES.iterdir())
        assert len(files) > 40
        for address in (real_clamd.unix, real_clamd.tcp):
            made = ClamavFile(address, CommDir(comm))
            assert [f.name for f in files if (await made.ask(MemoryBody(f.read_bytes()))).virus is None] == []
            await made.close()

    async def test_a_clean_corpus_by_every_transport(self, real_clamd: ClamdServer, comm: Path) -> None:
        """200 clean objects of all sizes are free by path, by descriptor and as a stream."""
        made = ClamavFile(real_clamd.unix, CommDir(comm))
        others = [ClamavNet(real_clamd.unix, Transport.FILDES), ClamavNet(real_clamd.tcp, Transport.INSTREAM)]
        sizes = [0, 1, 2, 67, 68, 69, *(int(1.083**n) for n in range(194))]
        for number, size in enumerate(sizes):
            body = MemoryBody(((b"clean %d " % number) * (size // 8 + 1))[:size])
            for engine in (made, *others):
                assert (await engine.ask(body)).status is Status.FREE
        await made.close()

    async def test_over_the_file_limit(self, comm: Path) -> None:
        """Larger than MaxFileSize is skipped where clamd says so, and found by the probe where it does not."""
        for alert in ("yes", "no"):
            with run_clamd({"MaxFileSize": "3M", "MaxScanSize": "20M", "AlertExceedsMax": alert}) as server:
                made = ClamavFile(server.unix, CommDir(comm))
                said = await made.ask(MemoryBody(b"x" * 4_000_000))
                assert said.status is (Status.SKIPPED if alert == "yes" else Status.FREE)
                proof = Proof(made, 10 * MIB)
                assert await proof.show() == ""
                while await proof.show_more():
                    pass
                assert (proof.seen, proof.unseen) == (3 * MIB, 3 * MIB + 1)
                await made.close()

    @pytest.mark.parametrize(
        ("make", "reply", "status"),
        [
            (lambda p: None, b"File path check failure: No such file or directory. ERROR\0", Status.ERROR),
            (lambda p: p.write_text(""), b"OK\0", Status.FREE),
            (lambda p: p.symlink_to("/etc/hostname"), b"OK\0", Status.FREE),  # so we look ourselves
            (os.mkfifo, b"Not supported file type ERROR\0{path}: OK\0", Status.ERROR),
        ],
        ids=["missing", "empty", "symlink", "fifo"],
    )
    async def test_what_it_says_of_other_paths(
        self, real_clamd: ClamdServer, tmp_path: Path, make: Callable[[Path], object], reply: bytes, status: Status
    ) -> None:
        """The words this adapter was written for are those of the clamd at hand, by name."""
        path = tmp_path / "p"
        make(path)
        raw = os.fsencode(path)
        assert await scan(real_clamd.unix, raw) == (raw + b": " + reply.replace(b"{path}", raw), status)

    async def test_a_relative_path_is_clamds_own(self, real_clamd: ClamdServer) -> None:
        """clamd looks for a relative path in its own directory: that is why ours are absolute."""
        reply, status = await scan(real_clamd.unix, b"no-such-thing")
        assert (reply.startswith(b"no-such-thing: "), status) == (True, Status.ERROR)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run clamd as somebody else")
    async def test_another_user(self, short_directory: Path) -> None:
        """A clamd of another user reads what we lay down: by everybody's right, or its group's; else an error."""
        short_directory.chmod(0o755)
        with run_as_nobody() as server:
            for mode, group, expected in (
                (0o755, 0, True),
                (0o2750, 65534, True),
                (0o2750, 0, False),
                (0o700, 0, False),
            ):
                directory = short_directory / f"{mode:o}-{group}"
                directory.mkdir()
                os.chown(directory, 0, group)
                directory.chmod(mode)
                made = ClamavFile(server.unix, CommDir(directory))
                found, free = await made.ask(INFECTED), await made.ask(CLEAN)
                assert (found.status is Status.FOUND, free.status is Status.FREE) == (expected, expected)
                if not expected:
                    assert (free.status, "ermission denied" in free.detail) == (Status.ERROR, True)
                await made.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run clamd as somebody else")
    async def test_an_unreadable_file(self, short_directory: Path) -> None:
        """What clamd may not read is an error in clamd's own words."""
        short_directory.chmod(0o755)
        path = short_directory / "p"
        path.write_text("x")
        path.chmod(0)
        raw = os.fsencode(path)
        with run_as_nobody() as server:
            assert await scan(server.unix, raw) == (raw + b": Access denied. ERROR\0", Status.ERROR)

    async def test_stopped_killed_and_back(self, comm: Path) -> None:
        """A stopped clamd is silent, a killed one an error, a new one answers; no file stays."""
        with run_clamd() as server:
            made = ClamavFile(server.unix, CommDir(comm))
            server.signal(signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await made.ask(INFECTED)
            assert [*comm.iterdir()] == []
            server.signal(signal.SIGKILL)
            assert (await made.ask(INFECTED)).status is Status.ERROR
            server.start()
            assert (await made.ask(INFECTED)).status is Status.FOUND
            await made.close()

    async def test_temporary_directory_gone(self, comm: Path) -> None:
        """clamd is blind then, and says OK: only the canary tells."""
        with run_clamd() as server:
            made = ClamavFile(server.unix, CommDir(comm))
            endpoint = Endpoint([made], terms(most=MIB))
            await endpoint.start()
            assert endpoint.proven
            server.temporary.rmdir()
            endpoint.doubt()
            assert (await endpoint.ask(MemoryBody(b"clean, as it happens"))).status is Status.ERROR
            await endpoint.close()


@contextlib.contextmanager
def run_as_nobody() -> Iterator[ClamdServer]:
    """A clamd that is not ours."""
    server = ClamdServer({"User": "nobody"})
    for directory in (server.directory, server.temporary, server.database):
        os.chown(directory, 65534, -1)
        directory.chmod(0o755)
    try:
        server.start()
        yield server
    finally:
        server.stop()
