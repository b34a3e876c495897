"""drwebd by both roads: answers, and every way in which an answer can fail."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.drweb.net import DrwebNet
from scanners.drweb.replies import Incoming, Reply, request_bytes, scan_reply
from scanners.drweb.wire import CHUNK, converse
from scanners.endpoint import Endpoint
from scanners.fake_drweb import DrwebFault, FakeDrweb
from scanners.fake_drweb_table import Code, Flag, Request, counted, reply
from scanners.specimens import EICAR
from tests.scanners.drweb.conftest import Stand
from tests.scanners.scripted import CLEAN, INFECTED, terms

MIB = 1 << 20
LARGE = 5 * MIB

# The rows of the table, by the names and numbers of the fake's author.
VIRUSES = [Code.KNOWN_VIRUS, Code.UNKNOWN_VIRUS, Code.VIRUS_MODIFICATION]
MALWARE = [Code.ADWARE, Code.DIALER, Code.JOKE, Code.RISKWARE, Code.HACKTOOL]
ERRORS = [Code.READ_ERR, Code.WRITE_ERR, Code.NOMEMORY, Code.READSOCKET, Code.BAD_CALL, Code.LICENSE_ERROR]
SKIPS = [
    *(Code.CRC_ERROR, Code.TIMEOUT, Code.SYMLINK, Code.NO_REGFILE),
    *(Code.SKIPPED, Code.TOO_BIG, Code.TOO_COMPRESSED, Code.ARCHIVE_LEVEL),
]
OTHERS = [Code.HAVE_CURED, Code.FILTER_REJECT, Code.HAVE_DELETED, *(1 << bit for bit in range(27, 32))]
CLEAN_CODES = [Code.IS_CLEAN, Code.IS_CLEAN | Code.EVAL_KEY]
OLD_CLEAN_CODES = [0, Code.EVAL_KEY]
TABLE: dict[int, Status] = {
    **dict.fromkeys([*VIRUSES, *(code | 0xFFFF_FFFF for code in VIRUSES)], Status.FOUND),
    **dict.fromkeys([*(virus | bit for virus in VIRUSES for bit in (Code.TOO_BIG, Code.IS_CLEAN))], Status.FOUND),
    **dict.fromkeys([*MALWARE, *(code | Code.IS_CLEAN for code in MALWARE)], Status.FOUND),
    **dict.fromkeys([*ERRORS, *(code | Code.IS_CLEAN for code in ERRORS)], Status.ERROR),
    **dict.fromkeys([*SKIPS, *(code | Code.IS_CLEAN for code in SKIPS)], Status.SKIPPED),
    **dict.fromkeys(CLEAN_CODES, Status.FREE),
    **dict.fromkeys(OLD_CLEAN_CODES, Status.UNKNOWN),
    **dict.fromkeys([*OTHERS, *(code | Code.IS_CLEAN for code in OTHERS)], Status.UNKNOWN),
}


class TestContract:
    """What every engine must do."""

    async def test_hit(self, stand: Stand) -> None:
        """EICAR is found and has a name, though the reply comes byte by byte."""
        answer = await stand.engine.ask(INFECTED)
        assert (answer.status, answer.virus) == (Status.FOUND, "EICAR Test File (NOT a Virus!)")

    @pytest.mark.parametrize("size", [0, 1, 68, CHUNK - 1, CHUNK, CHUNK + 1, LARGE])
    async def test_miss(self, stand: Stand, size: int) -> None:
        """Clean objects of any size are free, and were announced with their size."""
        assert (await stand.engine.ask(MemoryBody(b"x" * size))).status is Status.FREE

    async def test_hit_in_the_last_bytes(self, stand: Stand) -> None:
        """The whole object gets there, over every border of chunks."""
        body = SparseBody(LARGE, [(LARGE - len(EICAR), EICAR)])
        assert (await stand.engine.ask(body)).status is Status.FOUND

    async def test_many_at_once(self, stand: Stand) -> None:
        """Forty checks at a time get forty right answers."""
        bodies = [MemoryBody(EICAR if i % 2 else b"clean %d" % i) for i in range(40)]
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(stand.engine.ask(body)) for body in bodies]
        expected = [Status.FOUND if i % 2 else Status.FREE for i in range(40)]
        assert [check.result().status for check in checks] == expected

    async def test_no_descriptor_is_left_open(self, stand: Stand) -> None:
        """A check gives back every descriptor that it opened."""
        await stand.engine.ask(CLEAN)
        await stand.fake.idle()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await stand.engine.ask(INFECTED)
        await stand.fake.idle()
        assert len(os.listdir("/proc/self/fd")) <= before

    @pytest.mark.parametrize("code", TABLE, ids=hex)
    @pytest.mark.parametrize("segment", [1, 8])
    async def test_every_row_of_the_table(self, stand: Stand, code: int, segment: int) -> None:
        """Each result ends in one status, however its bytes arrive."""
        stand.fake.code, stand.fake.segment = code, segment
        assert (await stand.engine.ask(CLEAN)).status is TABLE[code]

    async def test_reports_come_along(self, stand: Stand) -> None:
        """Several reports, with NUL and without, are read to the last."""
        stand.fake.code = Code.KNOWN_VIRUS
        stand.fake.reports = (b"archive ZIP\0", b"a.exe infected with X", b"b infected with Y\0")
        assert (await stand.engine.ask(CLEAN)).virus == "X"

    async def test_single_bytes_arrive_as_such(self, stand: Stand) -> None:
        """What the fake sends byte by byte is heard byte by byte, so cuts are met everywhere in a reply."""
        heard: list[int] = []

        class Counting(Incoming[Reply]):
            def feed(self, data: bytes) -> None:
                heard.append(len(data))
                super().feed(data)

        body = EICAR.ljust(100)
        said = await converse(stand.fake.address, Counting(scan_reply()), [request_bytes(100) + body])
        assert said.reply == Reply(Code.KNOWN_VIRUS, (b"data infected with EICAR Test File (NOT a Virus!)",), 1)
        assert heard == [1] * 62 + [0]

    async def test_free_has_one_form(self, stand: Stand) -> None:
        """Of all replies one bit away from clean only the one with EVAL_KEY is free as well."""
        clean = reply(Code.IS_CLEAN)
        free = []
        for bit in range(8 * len(clean)):
            stand.fake.raw = (int.from_bytes(clean) ^ 1 << bit).to_bytes(len(clean))
            if (await stand.engine.ask(CLEAN)).status is Status.FREE:
                free.append(stand.fake.raw)
        assert free == [reply(Code.IS_CLEAN | Code.EVAL_KEY)]

    @pytest.mark.parametrize("report", [b"", b"\0", b"data - Ok\0"])
    async def test_clean_with_a_report_is_not_free(self, stand: Stand, report: bytes) -> None:
        """Only names of viruses were asked for: whoever says clean has nothing to report."""
        stand.fake.code, stand.fake.reports = Code.IS_CLEAN, (report,)
        assert (await stand.engine.ask(CLEAN)).status is Status.UNKNOWN

    async def test_every_cut_is_an_error(self, stand: Stand) -> None:
        """A reply that ends too early, wherever, says nothing: neither clean nor infected."""
        for whole in (reply(Code.IS_CLEAN), reply(Code.KNOWN_VIRUS, counted(b"infected with X\0"), counted(b""))):
            stand.fake.raw = whole
            for stand.fake.cut in range(len(whole)):
                assert (await stand.engine.ask(CLEAN)).status is Status.ERROR
            stand.fake.cut = None
            assert (await stand.engine.ask(CLEAN)).status in (Status.FREE, Status.FOUND)

    async def test_what_is_asked(self, stand: Stand) -> None:
        """Names and heuristics are asked for, and nothing that would cure, move or delete."""
        await stand.engine.ask(CLEAN)
        (asked,) = stand.fake.requests
        flags = Flag.RETURN_VIRUSES | Flag.HEURISTIC_ON
        if asked.path is not None:
            assert asked == Request(command=1, flags=flags, path=asked.path)
            assert os.path.dirname(asked.path) == os.fsencode(stand.comm)
        else:
            sha256 = hashlib.sha256(CLEAN.read(0, CLEAN.size)).hexdigest()
            assert asked == Request(command=1, flags=flags, size=CLEAN.size, sha256=sha256)

    async def test_too_big(self, stand: Stand) -> None:
        """What the daemon finds too big is skipped; the probe finds that limit to the byte."""
        stand.fake.size_limit = 3 * MIB
        assert (await stand.engine.ask(SparseBody(3 * MIB + 1, []))).status is Status.SKIPPED
        endpoint = Endpoint([stand.engine], terms(most=10 * MIB))
        await endpoint.start()
        assert (await endpoint.ask(SparseBody(3 * MIB, []))).status is Status.FREE
        assert (await endpoint.ask(SparseBody(3 * MIB + 1, []))).status is Status.SKIPPED
        assert endpoint.limit == 3 * MIB
        await endpoint.close()


STRUCK = {
    DrwebFault.BLIND: Status.FREE,  # nothing in the words tells: that is what the canary is for
    DrwebFault.HALF_CODE: Status.ERROR,
    DrwebFault.CODE_ONLY: Status.ERROR,
    DrwebFault.HALF_COUNT: Status.ERROR,
    DrwebFault.HALF_LENGTH: Status.ERROR,
    DrwebFault.HALF_REPORT: Status.ERROR,
    DrwebFault.MISSING_REPORT: Status.ERROR,
    DrwebFault.GARBAGE: Status.ERROR,
    DrwebFault.ABSURD_COUNT: Status.ERROR,
    DrwebFault.ABSURD_LENGTH: Status.ERROR,
    DrwebFault.FLOOD: Status.ERROR,
    DrwebFault.TRAILING: Status.UNKNOWN,
    DrwebFault.TWO_REPLIES: Status.UNKNOWN,
    DrwebFault.CLOSE: Status.ERROR,
    DrwebFault.CLOSE_MIDWAY: Status.ERROR,
    DrwebFault.RESET: Status.ERROR,
}


class TestFaults:
    """What the fake does on request."""

    @pytest.mark.parametrize("fault", STRUCK)
    @pytest.mark.parametrize("size", [100, LARGE])
    async def test_a_fault_has_its_status(self, stand: Stand, fault: DrwebFault, size: int) -> None:
        """Each fault ends in one status, for small and large objects."""
        stand.fake.fault = fault
        assert (await stand.engine.ask(MemoryBody(b"x" * size))).status is STRUCK[fault]

    def test_every_fault_is_tried(self) -> None:
        """No fault of the fake is forgotten here."""
        elsewhere = {DrwebFault.SILENCE, DrwebFault.SLOW, DrwebFault.EARLY_CLEAN, DrwebFault.EARLY_TAKEN}
        assert set(DrwebFault) == {*STRUCK, DrwebFault.NONE, *elsewhere}

    @pytest.mark.parametrize("fault", [DrwebFault.SILENCE, DrwebFault.SLOW])
    async def test_a_cancelled_check_leaves_nothing(self, stand: Stand, fault: DrwebFault) -> None:
        """No answer in time: the caller gives up, and connection, file and descriptors are gone."""
        await stand.engine.ask(CLEAN)
        await stand.fake.idle()
        stand.fake.fault = fault
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stand.engine.ask(CLEAN)
        assert os.listdir(stand.comm) == []
        async with asyncio.timeout(3):
            await stand.fake.idle()
        assert len(os.listdir("/proc/self/fd")) <= before

    @pytest.mark.parametrize("fault", DrwebFault)
    async def test_the_proof_stands_behind_every_fault(self, stand: Stand, fault: DrwebFault) -> None:
        """Faults spare EICAR, so the engine can be proven and then meet them."""
        stand.fake.fault = fault
        endpoint = Endpoint([stand.engine], terms(most=2 * MIB))
        await endpoint.start()
        assert endpoint.proven
        await endpoint.close()

    @pytest.mark.parametrize("fault", sorted(set(STRUCK)))
    async def test_blind_to_eicar_no_proof_stands(self, stand: Stand, fault: DrwebFault) -> None:
        """With `blind_to_eicar` a fault strikes the canary, too."""
        stand.fake.fault, stand.fake.blind_to_eicar = fault, True
        endpoint = Endpoint([stand.engine], terms())
        await endpoint.start()
        assert not endpoint.proven
        await endpoint.close()

    @pytest.mark.parametrize("family", ["tcp", "unix"])
    @pytest.mark.parametrize(
        ("fault", "size"),
        # A small object that is taken all the same has left our hands by then: nobody could tell.
        [(DrwebFault.EARLY_CLEAN, MIB), (DrwebFault.EARLY_CLEAN, 4 * LARGE), (DrwebFault.EARLY_TAKEN, 4 * LARGE)],
    )
    async def test_an_early_clean_is_no_answer(
        self, family: str, fault: DrwebFault, size: int, short_directory: Path
    ) -> None:
        """Clean before the object was taken is an error, whether the daemon throws the rest away or takes it."""
        async with FakeDrweb(short_directory / "s" if family == "unix" else None) as fake:
            fake.fault = fault
            for _ in range(5):
                answer = await DrwebNet(fake.address).ask(MemoryBody(b"x" * size))
                assert answer.status is Status.ERROR

    async def test_a_body_that_ends_early_is_an_error(self, stand: Stand) -> None:
        """Fewer bytes than announced are never a whole object."""

        class Short(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                return super().read(offset, size) if offset == 0 else b""

            def descriptor(self) -> int:
                raise OSError(5, "Input/output error")

        assert (await stand.engine.ask(Short(b"x" * LARGE))).status is Status.ERROR
        await stand.fake.idle()
        aborted = [why.partition(" after ")[0] for why in stand.fake.aborted]
        assert aborted == (["the object ends"] if isinstance(stand.engine, DrwebNet) else [])

    @pytest.mark.parametrize(("code", "status"), [(Code.KNOWN_VIRUS, Status.FOUND), (Code.IS_CLEAN, Status.ERROR)])
    async def test_a_daemon_that_takes_no_more(self, short_directory: Path, code: Code, status: Status) -> None:
        """One that has spoken and reads no further is not waited for: found counts at once, clean does not."""
        ends = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(16)
            writer.write(reply(code))
            await ends.wait()
            writer.close()

        path = str(short_directory / "s")
        async with await asyncio.start_unix_server(serve, path), asyncio.timeout(5):
            answer = await DrwebNet(Address(unix=path)).ask(MemoryBody(b"x" * LARGE))
            ends.set()
        assert answer.status is status

    async def test_a_daemon_that_keeps_its_connection(self, short_directory: Path) -> None:
        """Nobody wrote down who ends the connection: a whole reply is believed a moment after its last byte."""
        ends = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(16 + CLEAN.size)
            writer.write(bytes.fromhex("0010000000000000"))
            await ends.wait()
            writer.close()

        path = str(short_directory / "s")
        async with await asyncio.start_unix_server(serve, path):
            answer = await DrwebNet(Address(unix=path)).ask(CLEAN)
            ends.set()
        assert answer.status is Status.FREE


class TestVersion:
    """What the daemon tells of itself."""

    async def test_daemon_and_databases(self, stand: Stand) -> None:
        """Identity, version, number of databases and viruses, and a digest that moves with any of them."""
        told = await stand.engine.version()
        assert told.startswith("drwebd 4.33 (fake)/0x40021/2 databases/95321 viruses/")
        stand.fake.bases = ((b"drwebase.vdb", 95_001), (b"drwtoday.vdb", 320))
        again = await stand.engine.version()
        assert (again.rpartition("/")[0], again == told) == (told.rpartition("/")[0], False)
        stand.fake.bases = tuple(reversed(stand.fake.bases))
        assert await stand.engine.version() == again
        stand.fake.nul = False
        assert await stand.engine.version() == again

    async def test_a_daemon_without_words(self, short_directory: Path) -> None:
        """One that closes, or is not there, tells no version."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        path = str(short_directory / "s")
        async with await asyncio.start_unix_server(serve, path):
            assert await DrwebNet(Address(unix=path)).version() == ""
        assert await DrwebNet(Address(unix=path)).version() == ""

    @pytest.mark.looptime
    async def test_a_silent_daemon_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A question it does not know costs two seconds, and the proof goes on."""

        async def silence(*args: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("scanners.drweb.version.converse", silence)
        assert await DrwebNet(Address(host="127.0.0.1", port=1)).version() == ""
        assert asyncio.get_running_loop().time() == 2


async def test_nobody_there(short_directory: Path) -> None:
    """No socket, a dead socket and a closed port are errors that say where."""
    dead = short_directory / "dead"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    for address in (Address(unix=str(short_directory / "no")), Address(unix=str(dead)), Address(host="::1", port=1)):
        answer = await DrwebNet(address).ask(CLEAN)
        assert (answer.status, str(address) in answer.detail) == (Status.ERROR, True)


async def test_what_cannot_be_announced_is_skipped() -> None:
    """Sizes are 32 bits: 4 GiB and more are skipped, and nothing is sent."""
    answer = await DrwebNet(Address(host="::1", port=1)).ask(SparseBody(1 << 32, []))
    assert answer.status is Status.SKIPPED


def test_it_names_itself() -> None:
    """str() says what it is and where."""
    engine = DrwebNet(Address(host="127.0.0.1", port=3000))
    assert (str(engine), engine.protocol) == ("drwebd at 127.0.0.1:3000", "drweb-net")
    assert engine.coverage is Coverage.FULL
