"""The same answers from clamd, real and fake, by every transport; and every way in which an answer can fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.clamd.net import ClamavNet, Transport
from scanners.fake import FakeClamd, Fault
from scanners.specimens import EICAR
from tests.real.clamd_server import TESTFILES, ClamdServer, run_clamd
from tests.scanners.conftest import Stand, real_stand
from tests.scanners.packed import PACKINGS, encrypted_zip

LARGE = 5 << 20


class TestContract:
    """What the real clamd and the fake must both do."""

    async def test_hit(self, stand: Stand) -> None:
        """EICAR is found and has a name."""
        answer = await stand.engine.ask(MemoryBody(EICAR))
        assert answer.status is Status.FOUND
        assert answer.virus is not None
        assert "Eicar" in answer.virus

    @pytest.mark.parametrize("size", [0, 1, 68, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, LARGE])
    async def test_miss(self, stand: Stand, size: int) -> None:
        """Clean objects of any size are free."""
        assert (await stand.engine.ask(MemoryBody(bytes(range(256)) * (size // 256 + 1)))).status is Status.FREE

    async def test_hit_in_the_last_bytes(self, stand: Stand) -> None:
        """The whole object is looked at, over every border of chunks."""
        body = SparseBody(LARGE, [(LARGE - len(EICAR), EICAR)])
        assert (await stand.engine.ask(body)).status is Status.FOUND

    @pytest.mark.parametrize("packing", PACKINGS)
    async def test_hit_in_an_archive(self, stand: Stand, packing: str) -> None:
        """EICAR is found in what is packed."""
        assert (await stand.engine.ask(MemoryBody(PACKINGS[packing](EICAR)))).status is Status.FOUND

    async def test_encrypted(self, stand: Stand) -> None:
        """What is encrypted was not scanned."""
        answer = await stand.engine.ask(MemoryBody(encrypted_zip(os.urandom(200))))
        assert (answer.status, answer.detail) == (Status.SKIPPED, "Heuristics.Encrypted.Zip")

    async def test_version(self, stand: Stand) -> None:
        """The version begins with the product's name."""
        assert (await stand.engine.version()).startswith("ClamAV 1.")

    async def test_many_at_once(self, stand: Stand) -> None:
        """Forty checks at a time get forty right answers."""
        bodies = [MemoryBody(EICAR if i % 2 else b"clean %d" % i) for i in range(40)]
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(stand.engine.ask(body)) for body in bodies]
        expected = [Status.FOUND if i % 2 else Status.FREE for i in range(40)]
        assert [check.result().status for check in checks] == expected

    async def test_no_descriptor_is_left_open(self, stand: Stand) -> None:
        """A check gives back every descriptor that it opened."""
        await stand.engine.ask(MemoryBody(b"warm up"))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await stand.engine.ask(MemoryBody(EICAR))
        assert len(os.listdir("/proc/self/fd")) <= before

    async def test_the_position_of_others_stays(self, stand: Stand) -> None:
        """clamd moves the position of a descriptor it gets; nobody else's."""
        body = MemoryBody(b"some bytes")
        mine = body.descriptor()
        try:
            os.lseek(mine, 3, os.SEEK_SET)
            await stand.engine.ask(body)
            assert os.lseek(mine, 0, os.SEEK_CUR) == 3
        finally:
            os.close(mine)


STRUCK = {
    Fault.BLIND: Status.FREE,  # nothing in the words tells: that is what the canary is for
    Fault.HALF_REPLY: Status.ERROR,
    Fault.NO_TERMINATOR: Status.ERROR,
    Fault.GARBAGE: Status.UNKNOWN,
    Fault.UNKNOWN_COMMAND: Status.UNKNOWN,
    Fault.ERROR: Status.ERROR,
    Fault.TIMED_OUT: Status.ERROR,
    Fault.TWO_REPLIES: Status.UNKNOWN,
    Fault.LONG_REPLY: Status.ERROR,
    Fault.CLOSE: Status.ERROR,
    Fault.CLOSE_MIDWAY: Status.ERROR,
    Fault.RESET: Status.ERROR,
}


class TestFaults:
    """What only a fake does on request."""

    @pytest.mark.parametrize("fault", STRUCK)
    @pytest.mark.parametrize("size", [100, LARGE])
    async def test_a_fault_has_its_status(
        self, fake_clamd: FakeClamd, fake_stand: Stand, fault: Fault, size: int
    ) -> None:
        """Each fault ends in one status, for small and large objects."""
        fake_clamd.fault = fault
        assert (await fake_stand.engine.ask(MemoryBody(b"x" * size))).status is STRUCK[fault]

    @pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.SLOW])
    async def test_a_cancelled_check_closes_its_connection(
        self, fake_clamd: FakeClamd, fake_stand: Stand, fault: Fault
    ) -> None:
        """No answer in time: the caller gives up, and the connection is gone at once."""
        fake_clamd.fault = fault
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fake_stand.engine.ask(MemoryBody(b"x" * LARGE))
        async with asyncio.timeout(3):
            await fake_clamd.idle()
        assert len(os.listdir("/proc/self/fd")) <= before

    async def test_a_refused_command_is_unknown(self, short_directory: Path) -> None:
        """A clamd without FILDES says so, which is no verdict."""
        async with FakeClamd(short_directory / "s") as fake:
            fake.takes_descriptors = False
            answer = await ClamavNet(fake.address, Transport.FILDES).ask(MemoryBody(b"x"))
        assert answer.status is Status.UNKNOWN

    @pytest.mark.parametrize("family", ["tcp", "unix"])
    async def test_an_early_ok_is_no_answer(self, family: str, short_directory: Path) -> None:
        """OK before the object was sent is an error."""
        unix = short_directory / "s" if family == "unix" else None
        async with FakeClamd(unix, fault=Fault.EARLY_OK) as fake:
            answer = await ClamavNet(fake.address, Transport.INSTREAM).ask(MemoryBody(b"x" * LARGE))
        assert answer.status is Status.ERROR

    @pytest.mark.parametrize("repeat", range(5))
    @pytest.mark.parametrize("family", ["tcp", "unix"])
    async def test_an_early_refusal_is_heard(self, family: str, repeat: int, short_directory: Path) -> None:
        """The size limit is told while we are still sending; the words are not lost in the reset that follows."""
        unix = short_directory / "s" if family == "unix" else None
        async with FakeClamd(unix) as fake:
            fake.stream_limit = 1 << 20
            answer = await ClamavNet(fake.address, Transport.INSTREAM).ask(MemoryBody(b"x" * 4 * LARGE))
        assert (answer.status, answer.detail) == (Status.SKIPPED, "INSTREAM size limit exceeded. ERROR")

    async def test_a_body_that_cannot_be_read_is_an_error(self, fake_stand: Stand) -> None:
        """Trouble on our own side is an error, too, and does not leave the engine."""

        class Broken(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                raise OSError(5, "Input/output error")

            def descriptor(self) -> int:
                raise OSError(28, "No space left on device")

        answer = await fake_stand.engine.ask(Broken(b"x" * 1000))
        assert answer.status is Status.ERROR
        assert "error" in answer.detail or "space" in answer.detail

    @pytest.mark.parametrize("transport", [Transport.INSTREAM])
    async def test_a_body_that_ends_early_is_an_error(self, transport: Transport, short_directory: Path) -> None:
        """Fewer bytes than announced are never a whole object."""

        class Short(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                return super().read(offset, size) if offset == 0 else b""

        async with FakeClamd() as fake:
            answer = await ClamavNet(fake.address, transport).ask(Short(b"x" * LARGE))
        assert answer.status is Status.ERROR


@contextlib.contextmanager
def full_backlog(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket nobody accepts from, with its backlog full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield listener


class TestConnecting:
    """Before there is a connection."""

    async def test_nobody_there(self, short_directory: Path) -> None:
        """No socket, a dead socket and a closed port are errors that say where."""
        dead = short_directory / "dead"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(dead))
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        nowhere = Address(unix=str(short_directory / "none"))
        for address in (nowhere, Address(unix=str(dead)), Address(host="127.0.0.1", port=port)):
            engine = ClamavNet(address, Transport.INSTREAM)
            answer = await engine.ask(MemoryBody(b"x"))
            assert answer.status is Status.ERROR
            assert str(address) in answer.detail
            assert await engine.version() == ""

    @pytest.mark.parametrize("transport", Transport)
    async def test_a_full_backlog_is_waited_for(self, transport: Transport, short_directory: Path) -> None:
        """A full backlog is no error and no success: the check goes on once there is room."""
        path = short_directory / "s"
        with full_backlog(path) as listener:
            engine = ClamavNet(Address(unix=str(path)), transport)
            asking = asyncio.get_running_loop().create_task(engine.ask(MemoryBody(b"x")))
            _, still = await asyncio.wait([asking], timeout=0.05)
            assert still
            listener.setblocking(False)
            while True:
                with contextlib.suppress(BlockingIOError):
                    listener.accept()[0].close()
                done, _ = await asyncio.wait([asking], timeout=0.01)
                if done:
                    break
        assert asking.result().status is Status.ERROR  # it was accepted, and closed without a reply

    async def test_a_full_backlog_keeps_nothing_after_the_deadline(self, short_directory: Path) -> None:
        """Whoever gives up waiting leaves no socket behind."""
        path = short_directory / "s"
        with full_backlog(path):
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ClamavNet(Address(unix=str(path)), Transport.FILDES).ask(MemoryBody(b"x"))
            assert len(os.listdir("/proc/self/fd")) <= before

    async def test_a_host_may_have_a_name(self) -> None:
        """Names are looked up."""
        async with FakeClamd() as fake:
            address = Address(host="localhost", port=fake.address.port)
            answer = await ClamavNet(address, Transport.INSTREAM).ask(MemoryBody(EICAR))
        assert answer.status is Status.FOUND

    async def test_a_name_that_is_none_is_an_error(self) -> None:
        """A name without address is an error."""
        address = Address(host="nowhere.invalid", port=3310)
        answer = await ClamavNet(address, Transport.INSTREAM).ask(MemoryBody(b"x"))
        assert answer.status is Status.ERROR


def test_descriptors_go_over_unix_sockets_only() -> None:
    """FILDES on TCP is refused before anything is asked."""
    with pytest.raises(ValueError, match="use instream"):
        ClamavNet(Address(host="127.0.0.1", port=3310), Transport.FILDES)


def test_it_names_itself() -> None:
    """str() says what it is, where, and how it is reached."""
    engine = ClamavNet(Address(unix="/run/c"), Transport.FILDES)
    assert str(engine) == "clamd at /run/c by FILDES"
    assert (engine.protocol, engine.coverage) == ("clamav-net", Coverage.FULL)


@pytest.mark.clamd
class TestRealClamd:
    """What only the real one can show."""

    @pytest.mark.skipif(not TESTFILES.exists(), reason="clamav-testfiles is not installed: make servers")
    async def test_every_container_of_the_test_set(self, real_clamd: ClamdServer, road: tuple[str, Transport]) -> None:
        """The same verdict on each of ClamAV's own test containers by every transport."""
        engine = real_stand(real_clamd, road).engine
        files = sorted(TESTFILES.iterdir())
        missed = [f.name for f in files if (await engine.ask(MemoryBody(f.read_bytes()))).virus is None]
        assert len(files) > 40
        assert missed == []

    @pytest.mark.parametrize("repeat", range(5))
    async def test_over_the_stream_limit(self, small_clamd: ClamdServer, repeat: int) -> None:
        """Larger than StreamMaxLength is skipped by INSTREAM, and the words for it are heard."""
        for address in (small_clamd.unix, small_clamd.tcp):
            answer = await ClamavNet(address, Transport.INSTREAM).ask(MemoryBody(b"x" * 20_000_000))
            assert (answer.status, answer.detail) == (Status.SKIPPED, "INSTREAM size limit exceeded. ERROR")

    async def test_over_the_file_limit(self, small_clamd: ClamdServer) -> None:
        """Larger than MaxFileSize is skipped where clamd says so."""
        body = MemoryBody(b"x" * 300_000 + EICAR)
        answer = await ClamavNet(small_clamd.unix, Transport.FILDES).ask(body)
        assert (answer.status, answer.detail) == (
            Status.SKIPPED,
            "Heuristics.Limits.Exceeded.MaxFileSize",
        )

    async def test_reload_in_progress(self, real_clamd: ClamdServer, road: tuple[str, Transport]) -> None:
        """While clamd reloads its signatures every answer is right or an error."""
        engine = real_stand(real_clamd, road).engine
        for _ in range(5):
            assert real_clamd.command(b"RELOAD") == b"RELOADING\0"
            for _ in range(10):
                assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
                assert (await engine.ask(MemoryBody(b"clean"))).status is Status.FREE

    @pytest.mark.parametrize("transport", Transport)
    async def test_stopped_killed_and_back(self, transport: Transport) -> None:
        """A stopped clamd is silent, a killed one an error, a new one on its old socket file answers."""
        with run_clamd() as server:
            engine = ClamavNet(server.unix, transport)
            server.signal(signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await engine.ask(MemoryBody(EICAR))
            server.signal(signal.SIGKILL)
            assert (await engine.ask(MemoryBody(EICAR))).status is Status.ERROR
            server.start()
            assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND

    async def test_temporary_directory_gone(self) -> None:
        """Without its temporary directory clamd is never free for a stream, and blind for a descriptor."""
        with run_clamd() as server:
            server.temporary.rmdir()
            streamed = await ClamavNet(server.tcp, Transport.INSTREAM).ask(MemoryBody(b"clean"))
            assert streamed.status is Status.ERROR


@pytest.fixture(scope="module")
def small_clamd() -> Iterator[ClamdServer]:
    """A clamd that scans 200 KiB at most and takes 1 MiB."""
    with run_clamd({"MaxFileSize": "200K", "MaxScanSize": "200K", "StreamMaxLength": "1M"}) as server:
        yield server
