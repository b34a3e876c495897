"""clamd that is given a path: the contract of every clamd, and what only a path can bring about."""
# ruff: noqa: ASYNC240 - the tests look into a directory of their own, and nobody waits for them meanwhile

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.clamd.file import ClamavFile
from scanners.clamd.replies import TIMED_OUT, Exchange, judge
from scanners.comm_dir import CommDir
from scanners.endpoint import Endpoint
from scanners.fake import FakeClamd, Fault
from scanners.specimens import EICAR
from tests.scanners.clamd.test_net import STRUCK, TestContract
from tests.scanners.disks import tiny_disk, unprivileged
from tests.scanners.fuzzing import fuzz, spoil
from tests.scanners.scripted import CLEAN, INFECTED, terms

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
