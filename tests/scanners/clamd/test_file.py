"""clamd that is given a path: the contract of every clamd, and what only a path can bring about."""
# ruff: noqa: ASYNC240 - the tests look into a directory of their own, and nobody waits for them meanwhile

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.clamd.file import ClamavFile
from scanners.clamd.replies import TIMED_OUT, Exchange, judge
from scanners.clamd.wire import send_command
from scanners.comm_dir import CommDir
from scanners.endpoint import Endpoint
from scanners.fake import FakeClamd, Fault
from scanners.proof import Proof
from scanners.specimens import EICAR
from tests.real.clamd_server import TESTFILES, ClamdServer, run_clamd
from tests.scanners.clamd.test_net import STRUCK, TestContract
from tests.scanners.fuzzing import fuzz, spoil
from tests.scanners.scripted import CLEAN, INFECTED, terms
from tests.scanners.test_comm_dir import tiny_disk, unprivileged

__all__ = ["TestContract"]  # run here once more, by the stands below

MIB = 1 << 20


class Stand:
    """An engine that tells paths, where it listens, and where the files are laid."""

    def __init__(self, address: Address, directory: Path) -> None:
        self.address = address
        self.directory = directory
        self.engine = ClamavFile(address, CommDir(directory))


@pytest.fixture
def comm(short_directory: Path) -> Iterator[Path]:
    """An empty comm-dir, which must be empty again afterwards."""
    directory = short_directory / "comm"
    directory.mkdir()
    yield directory
    assert [*directory.iterdir()] == []


@pytest.fixture(params=["unix", "tcp"])
async def fake(request: pytest.FixtureRequest, short_directory: Path) -> AsyncIterator[FakeClamd]:
    """A fake clamd on either kind of address."""
    async with FakeClamd(short_directory / "s" if request.param == "unix" else None) as made:
        yield made
        async with asyncio.timeout(5):
            await made.idle()  # else a connection was left open


@pytest.fixture(
    params=[
        "fake",
        pytest.param("real-unix", marks=pytest.mark.clamd),
        pytest.param("real-tcp", marks=pytest.mark.clamd),
    ]
)
async def stand(request: pytest.FixtureRequest, short_directory: Path, comm: Path) -> AsyncIterator[Stand]:
    """An engine that asks the fake or the real clamd."""
    async with contextlib.AsyncExitStack() as held:
        if request.param == "fake":
            address = (await held.enter_async_context(FakeClamd(short_directory / "s"))).address
        else:
            server = request.getfixturevalue("real_clamd")
            address = server.unix if request.param == "real-unix" else server.tcp
        made = Stand(address, comm)
        yield made
        await made.engine.close()


@pytest.fixture
async def engine(fake: FakeClamd, comm: Path) -> AsyncIterator[ClamavFile]:
    """An engine that asks the fake."""
    made = ClamavFile(fake.address, CommDir(comm))
    yield made
    await made.close()


class TestFaults:
    """What only a fake does on request."""

    @pytest.mark.parametrize("fault", STRUCK)
    @pytest.mark.parametrize("size", [100, 5 * MIB])
    async def test_a_fault_has_its_status(self, fake: FakeClamd, engine: ClamavFile, fault: Fault, size: int) -> None:
        """Each fault ends in one status, and the file is removed."""
        fake.fault = fault
        assert (await engine.ask(MemoryBody(b"x" * size))).status is STRUCK[fault]

    @pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.SLOW])
    async def test_a_cancelled_check_leaves_nothing(
        self, fake: FakeClamd, engine: ClamavFile, comm: Path, fault: Fault
    ) -> None:
        """No answer in time: the caller gives up, and connection, file and descriptors are gone."""
        await engine.ask(CLEAN)
        fake.fault = fault
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await engine.ask(CLEAN)
        assert [*comm.iterdir()] == []
        async with asyncio.timeout(3):
            await fake.idle()
        assert len(os.listdir("/proc/self/fd")) <= before

    async def test_the_command_is_a_path_in_the_comm_dir(self, fake: FakeClamd, engine: ClamavFile, comm: Path) -> None:
        """clamd is told the absolute path of a file of ours, and nothing else."""
        await engine.ask(CLEAN)
        (command,) = fake.commands
        assert re.fullmatch(rb"SCAN " + re.escape(os.fsencode(comm)) + rb"/sluice-[0-9a-f]{32}", command)

    async def test_path_map(self, fake: FakeClamd, comm: Path) -> None:
        """A clamd in another root is told its own name of the directory, and its reply about that is understood."""
        (comm.parent / "theirs").symlink_to(comm)
        made = ClamavFile(fake.address, CommDir(comm, {str(comm): str(comm.parent / "theirs")}))
        assert (await made.ask(CLEAN)).status is Status.FREE
        assert (await made.ask(INFECTED)).status is Status.FOUND
        assert all(c.startswith(b"SCAN " + os.fsencode(comm.parent / "theirs/")) for c in fake.commands)
        await made.close()

    async def test_a_wrong_path_map_is_an_error(self, fake: FakeClamd, comm: Path) -> None:
        """Where clamd does not see the file nothing is free, and its words say why."""
        made = ClamavFile(fake.address, CommDir(comm, {str(comm): "/nowhere"}))
        answer = await made.ask(CLEAN)
        assert (answer.status, "No such file" in answer.detail) == (Status.ERROR, True)
        await made.close()


class TestDirectory:
    """When there is something about the comm-dir."""

    async def test_removed_and_made_again(self, fake: FakeClamd, short_directory: Path) -> None:
        """Without the directory every answer is an error; it is not made; once it is back all is well."""
        directory = short_directory / "d"
        made = ClamavFile(fake.address, CommDir(directory))
        answer = await made.ask(INFECTED)
        assert (answer.status, "No such file" in answer.detail) == (Status.ERROR, True)
        assert not directory.exists()
        directory.mkdir()
        assert (await made.ask(INFECTED)).status is Status.FOUND
        directory.rmdir()
        assert (await made.ask(CLEAN)).status is Status.ERROR
        await made.close()

    async def test_not_writable(self, fake: FakeClamd, comm: Path) -> None:
        """A directory we may not write to is an error."""
        comm.parent.chmod(0o755)
        comm.chmod(0o555)
        made = ClamavFile(fake.address, CommDir(comm))
        with unprivileged():
            answer = await made.ask(CLEAN)
        assert (answer.status, "Permission denied" in answer.detail) == (Status.ERROR, True)
        comm.chmod(0o755)
        await made.close()

    @pytest.mark.parametrize("size", [60_000, 200_000])
    async def test_full(self, fake: FakeClamd, comm: Path, size: int) -> None:
        """A full disk is an error, and the next small object is checked as ever."""
        with tiny_disk(comm):
            made = ClamavFile(fake.address, CommDir(comm))
            (comm / "filler").write_bytes(b"x" * 20_000)
            answer = await made.ask(MemoryBody(b"x" * size))
            assert (answer.status, "No space left" in answer.detail) == (Status.ERROR, True)
            assert (await made.ask(INFECTED)).status is Status.FOUND
            assert [p.name for p in comm.iterdir()] == ["filler"]
            await made.close()

    @pytest.mark.parametrize("name", [b"new\nline", b"co:lon", b"a FOUND", b": OK", b"x: Eicar FOUND", b"\xff"])
    @pytest.mark.parametrize("kind", ["fake", pytest.param("real", marks=pytest.mark.clamd)])
    async def test_names_that_look_like_replies(
        self, request: pytest.FixtureRequest, short_directory: Path, name: bytes, kind: str
    ) -> None:
        """Whatever the directory is called, replies are read from the right and about our path."""
        directory = os.fsencode(short_directory) + b"/" + name
        os.mkdir(directory)
        async with FakeClamd(short_directory / "s") as fake:
            address = fake.address if kind == "fake" else request.getfixturevalue("real_clamd").unix
            made = ClamavFile(address, CommDir(Path(os.fsdecode(directory))))
            assert (await made.ask(CLEAN)).status is Status.FREE
            answer = await made.ask(INFECTED)
            assert (answer.status, (answer.virus or "")[:5]) == (Status.FOUND, "Eicar")
            await made.close()


def link_elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def replace(path: Path) -> None:
    path.unlink()
    path.write_text("clean")


class Swapper(FakeClamd):
    """A clamd in whose time of scanning somebody plays with the file."""

    trick: Callable[[Path], object] = staticmethod(lambda path: None)

    async def _obey(self, peer, command):  # type: ignore[no-untyped-def]  # of the fake's own kind
        self.trick(Path(os.fsdecode(command.removeprefix(b"SCAN "))))
        await super()._obey(peer, command)


class TestOthers:
    """When somebody else can write in the comm-dir."""

    @pytest.mark.parametrize("trick", [link_elsewhere, replace])
    async def test_a_planted_file_is_never_free(self, short_directory: Path, trick: Callable[[Path], object]) -> None:
        """clamd said OK of what somebody put under our name: an error."""
        async with Swapper(short_directory / "s") as fake:
            fake.trick = trick
            made = ClamavFile(fake.address, CommDir(short_directory))
            answer = await made.ask(CLEAN)
            assert (answer.status, "somebody changed" in answer.detail) == (Status.ERROR, True)
            await made.close()

    async def test_a_quarantined_file_is_still_found(self, short_directory: Path) -> None:
        """clamd, or its VirusEvent, may take an infected file away: it was found."""
        async with Swapper(short_directory / "s") as fake:
            made = ClamavFile(fake.address, CommDir(short_directory))
            fake.trick = replace_with_eicar
            assert (await made.ask(INFECTED)).status is Status.FOUND
            await made.close()


def replace_with_eicar(path: Path) -> None:
    path.unlink()
    path.write_bytes(EICAR)


async def test_nobody_there(short_directory: Path, comm: Path) -> None:
    """No socket, a dead socket and a closed port are errors that say where, and leave no file."""
    dead = short_directory / "dead"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    for address in (Address(unix=str(short_directory / "none")), Address(unix=str(dead)), Address(host="::1", port=1)):
        made = ClamavFile(address, CommDir(comm))
        answer = await made.ask(CLEAN)
        assert (answer.status, str(address) in answer.detail) == (Status.ERROR, True)
        assert await made.version() == ""
        await made.close()


async def test_the_limit_is_found_over_files(fake: FakeClamd, comm: Path) -> None:
    """Proof and limit probe go over the comm-dir; the answer above the limit is skipped."""
    fake.file_limit, fake.alert_exceeds = 5 * MIB, False
    endpoint = Endpoint([ClamavFile(fake.address, CommDir(comm))], terms(most=100 * MIB))
    await endpoint.start()
    assert (await endpoint.ask(SparseBody(5 * MIB, []))).status is Status.FREE
    assert (await endpoint.ask(SparseBody(5 * MIB + 1, []))).status is Status.SKIPPED
    assert endpoint.limit == 5 * MIB
    await endpoint.close()


@pytest.mark.parametrize("fault", Fault)
async def test_the_proof_stands_behind_every_fault(fake: FakeClamd, comm: Path, fault: Fault) -> None:
    """Faults spare EICAR, so the engine can be proven and then meet them."""
    fake.fault = fault
    endpoint = Endpoint([ClamavFile(fake.address, CommDir(comm))], terms(most=3 * MIB))
    await endpoint.start()
    assert endpoint.proven
    await endpoint.close()


def test_it_names_itself(tmp_path: Path) -> None:
    """str() says what it is, where, and how it is reached."""
    made = ClamavFile(Address(unix="/run/c"), CommDir(tmp_path))
    assert str(made) == f"clamd at /run/c by SCAN in {tmp_path}"
    assert (made.protocol, made.coverage) == ("clamav-file", Coverage.FULL)


PATHS = [b"/comm/sluice-0", b"/a FOUND/s", b"/: OK/s", b"/x: Eicar FOUND/s", b"/new\nline/s", b"/\xff: OK FOUND"]
WORDS = [b": OK", b": OK\0", b"\0", b" FOUND", b": Eicar FOUND\0", b" ERROR", b": Excluded", b"\n", TIMED_OUT, *PATHS]


def test_garbage_is_never_free() -> None:
    """Near-replies about any path: free is exactly its one form, in a whole exchange."""
    seen: set[Status] = set()

    def trial(chance: random.Random) -> None:
        path = chance.choice(PATHS)
        ending = chance.choice((b": OK\0", b": OK\0", b": Eicar FOUND\0", b": Excluded\0", b": x ERROR\0", b": y\0"))
        data = spoil(chance, path + ending, WORDS)
        whole = Exchange(data, delivered=chance.random() < 0.9, ended=chance.random() < 0.9)
        status = judge(whole, re.compile(re.escape(path))).status
        assert (status is Status.FREE) == (data == path + b": OK\0" and whole.delivered and whole.ended), (path, whole)
        seen.add(status)

    assert fuzz(trial) > 0
    assert seen == set(Status)


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
