"""What only the real c-icap can show, with virus_scan and a real clamd behind it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import ssl
from pathlib import Path

import pytest
import trustme

from policy.address import Address
from policy.model import Policy
from policy.verdict import ScanReport, Status
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody, SparseBody
from scanners.endpoint import Endpoint
from scanners.engine import Answer
from scanners.icap.net import Icap, Preview
from scanners.registry import open_antivirus
from scanners.specimens import EICAR
from tests.real.c_icap_server import CIcapServer, run_c_icap
from tests.real.clamd_server import TESTFILES, ClamdServer, run_clamd
from tests.scanners.scripted import make_antivirus, terms

pytestmark = [pytest.mark.clamd, pytest.mark.c_icap]

DOCS = Path(__file__).parents[3] / "docs" / "engines.md"
MIB = 1 << 20
EVERY_TYPE = {
    "virus_scan.ScanFileTypes": "TEXT DATA EXECUTABLE ARCHIVE GRAPHICS STREAM DOCUMENT",
    "virus_scan.MaxObjectSize": "300M",
}


def started(address: Address, service: str = "/avscan", *, most: int = MIB, within: float = 10.0) -> Antivirus:
    """An antivirus of one endpoint, not yet started."""
    return make_antivirus(
        Endpoint([Icap(address, service)], terms(most=most, timeout=within)), timeout=within, most=most
    )


@pytest.mark.skipif(not TESTFILES.exists(), reason="clamav-testfiles is not installed: make servers")
@pytest.mark.parametrize("preview", Preview)
@pytest.mark.parametrize("service", ["/avscan", "/virus_scan"])
async def test_every_container_of_the_test_set(real_clamd: ClamdServer, preview: Preview, service: str) -> None:
    """All 44 of ClamAV's own test files are found by the hash of what is in them, by name: with a preview, with ieof,
    and without either."""
    with run_c_icap(Path(str(real_clamd.unix)), EVERY_TYPE) as server:
        answers = await check_containers(server, service, preview)
    assert len(answers) >= 44
    assert {name: answer for name, answer in answers.items() if answer.status is not Status.FOUND} == {}
    assert {answer.virus for answer in answers.values()} == {"Clam-Test.UNOFFICIAL"}


@pytest.mark.skipif(not TESTFILES.exists(), reason="clamav-testfiles is not installed: make servers")
@pytest.mark.parametrize("service", ["/avscan", "/virus_scan"])
async def test_the_test_set_with_debians_file_types(real_c_icap: CIcapServer, service: str) -> None:
    """By Debian's own ScanFileTypes the PDF among them is not scanned: skipped, and not free."""
    answers = await check_containers(real_c_icap, service, Preview.PART)
    missed = {name: answer.status for name, answer in answers.items() if answer.status is not Status.FOUND}
    assert missed == {"clam.pdf": Status.SKIPPED}


@pytest.mark.skipif(not TESTFILES.exists(), reason="clamav-testfiles is not installed: make servers")
async def test_an_infected_pdf_at_the_gateways(real_clamd: ClamdServer, real_c_icap: CIcapServer) -> None:
    """As a policy opens the engine: skipped with Debian's types, found with those of docs/engines.md."""
    line = next(line for line in DOCS.read_text().splitlines() if line.startswith("virus_scan.ScanFileTypes "))
    key, value = line.partition("#")[0].strip().split(" ", 1)
    pdf = MemoryBody((TESTFILES / "clam.pdf").read_bytes())
    with run_c_icap(Path(str(real_clamd.unix)), {key: value}) as widened:
        for server, status in ((real_c_icap, Status.SKIPPED), (widened, Status.FOUND)):
            section = {"protocol": "icap", "address": str(server.tcp), "uri": "/avscan", "max-checked-size": "1MiB"}
            antivirus = open_antivirus(Policy.model_validate({"antivirus": {"I": section}}), ["I"])["I"]
            await antivirus.start()
            assert (await antivirus.check(pdf)).status is status
            await antivirus.close()


async def check_containers(server: CIcapServer, service: str, preview: Preview) -> dict[str, Answer]:
    """The answer to each file of the test set."""
    engine = Icap(server.tcp, service, preview=preview)
    answers = {f.name: await engine.ask(MemoryBody(f.read_bytes())) for f in sorted(TESTFILES.iterdir())}
    await engine.close()
    return answers


@pytest.mark.parametrize("preview", Preview)
async def test_clean_files_of_all_sizes(real_c_icap: CIcapServer, preview: Preview) -> None:
    """Two hundred clean objects, from nothing to a megabyte, are free."""
    engine = Icap(real_c_icap.tcp, "/avscan", preview=preview)
    sizes = [*range(70), *(1 << n for n in range(21)), *range(1000, 1050), *(997 * n for n in range(1, 60))]
    statuses = [(await engine.ask(MemoryBody(b"clean " * (size // 6) + b"." * (size % 6)))).status for size in sizes]
    await engine.close()
    assert statuses == [Status.FREE] * 200


async def test_a_truncated_200_is_unknown(real_c_icap: CIcapServer) -> None:
    """virus_scan sends 5 % of an infected object, a proper end, and no word of the infection."""
    engine = Icap(real_c_icap.tcp, "/virus_scan")
    answer = await engine.ask(SparseBody(4_000_068, [(4_000_000, EICAR)]))
    assert (answer.status, answer.detail) == (
        Status.UNKNOWN,
        "the object came back with 200003 of 4000068 bytes",
    )
    assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
    await engine.close()


@pytest.mark.parametrize("service", ["/avscan", "/virus_scan"])
@pytest.mark.parametrize("size", [100, 5000])
async def test_a_type_that_is_not_scanned_is_skipped(real_c_icap: CIcapServer, service: str, size: int) -> None:
    """c-icap does not look into PNG, and says 204 to its first bytes."""
    engine = Icap(real_c_icap.tcp, service)
    answer = await engine.ask(MemoryBody(b"\x89PNG\r\n\x1a\n" + EICAR + bytes(size)))
    await engine.close()
    assert answer.status is Status.SKIPPED


@pytest.mark.parametrize("preview", [Preview.WHOLE, Preview.NONE])
async def test_why_the_last_byte_is_kept_back(real_c_icap: CIcapServer, preview: Preview) -> None:
    """Shown in whole, the same unscanned object gets the 204 of a clean one: that is why we never do so."""
    engine = Icap(real_c_icap.tcp, "/avscan", preview=preview)
    answer = await engine.ask(MemoryBody(b"\x89PNG\r\n\x1a\n" + EICAR + bytes(100)))
    await engine.close()
    assert answer.status is Status.FREE


async def test_a_size_that_is_not_scanned_is_skipped(real_c_icap: CIcapServer) -> None:
    """virus_scan's MaxObjectSize is judged by the Content-Length, before the object is there."""
    engine = Icap(real_c_icap.tcp, "/virus_scan")
    answer = await engine.ask(SparseBody(6_000_000, [(0, EICAR)]))
    await engine.close()
    assert answer.status is Status.SKIPPED


@pytest.mark.slow
async def test_an_early_reply_to_200_megabytes(real_clamd: ClamdServer) -> None:
    """c-icap begins to give the object back while we send it: no deadlock, and no memory of ours grows."""
    with run_c_icap(Path(str(real_clamd.unix)), EVERY_TYPE) as server:
        engine = Icap(server.tcp, "/virus_scan")
        await engine.ask(MemoryBody(b"warm up"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with asyncio.timeout(60):
            answer = await engine.ask(SparseBody(200_000_000, [(100_000_000, os.urandom(1000))]))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        await engine.close()
    assert answer.status is Status.FREE
    assert grown < 16 * 1024  # KiB


async def test_the_event_loop_stays_free(real_c_icap: CIcapServer) -> None:
    """During a large check nobody else waits for long."""
    loop = asyncio.get_running_loop()
    engine = Icap(real_c_icap.tcp, "/avscan")
    checking = loop.create_task(engine.ask(SparseBody(30_000_000, [(29_000_000, EICAR)])))
    last, longest = loop.time(), 0.0
    while not checking.done():
        await asyncio.wait([checking], timeout=0.001)
        longest, last = max(longest, loop.time() - last), loop.time()
    await engine.close()
    assert (await checking).status is Status.FOUND
    # The bar is 20 ms of our own doing; the machine is shared, so that a neighbour's turn is allowed for.
    assert longest < 0.1


async def test_the_102nd_request(real_c_icap: CIcapServer) -> None:
    """c-icap ends a connection silently after 101 requests, OPTIONS among them: the next check is repeated."""
    engine = Icap(real_c_icap.tcp, "/avscan")
    statuses = [(await engine.ask(MemoryBody(b"clean %d" % i))).status for i in range(100)]
    assert statuses == [Status.FREE] * 100
    assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
    statuses = [(await engine.ask(MemoryBody(b"clean %d" % i))).status for i in range(150)]
    assert statuses == [Status.FREE] * 150
    await engine.close()


async def test_no_service(real_c_icap: CIcapServer) -> None:
    """An unknown service is an error that says so."""
    engine = Icap(real_c_icap.tcp, "/nothing")
    answer = await engine.ask(MemoryBody(EICAR))
    assert answer.status is Status.ERROR
    assert "404" in answer.detail


class TestTrouble:
    """A whole antivirus, with its proof, on a c-icap in trouble."""

    async def test_proof_and_checks(self, real_c_icap: CIcapServer) -> None:
        """EICAR alone and behind a megabyte is shown, and checks are answered."""
        antivirus = started(real_c_icap.tcp)
        await antivirus.start()
        bodies = [MemoryBody(os.urandom(500) + (EICAR if i % 2 else b"")) for i in range(100)]
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(antivirus.check(body)) for body in bodies]
        await antivirus.close()
        assert [c.result().status for c in checks] == [Status.FREE, Status.FOUND] * 50

    async def test_the_limit_is_found(self, real_clamd: ClamdServer, caplog: pytest.LogCaptureFixture) -> None:
        """Above MaxObjectSize everything is skipped, to the byte, and the log names the setting."""
        settings = {"virus_scan.MaxObjectSize": "1500000", "virus_scan.SendPercentData": "0"}
        with run_c_icap(Path(str(real_clamd.unix)), settings) as server, caplog.at_level(logging.WARNING):
            antivirus = started(server.tcp, "/virus_scan", most=3 * MIB)
            await antivirus.start()
            async with asyncio.timeout(20):
                while not antivirus.skips(2 * MIB):
                    await antivirus.check(SparseBody(2 * MIB, [(0, b"x")]))
            assert (await antivirus.check(SparseBody(1_500_000, [(0, b"x")]))).status is Status.FREE
            assert (await antivirus.check(SparseBody(1_500_001, [(0, b"x")]))).status is Status.SKIPPED
            await antivirus.close()
        assert "virus_scan.MaxObjectSize" in caplog.text

    async def test_clamd_behind_it_is_down(self) -> None:
        """OPTIONS is answered as ever, every check is an error; and free again once clamd is back."""
        with run_clamd() as clamd, run_c_icap(Path(str(clamd.unix))) as server:
            antivirus = started(server.tcp)
            await antivirus.start()
            assert (await antivirus.check(MemoryBody(b"clean"))).status is Status.FREE
            clamd.signal(signal.SIGKILL)
            for size in (5, 3 * MIB // 4):
                report = await antivirus.check(MemoryBody(b"x" * size))
                assert report.status is Status.ERROR
            assert server.options().startswith(b"ICAP/1.0 200")
            clamd.start()
            assert await recover(antivirus) is Status.FREE
            await antivirus.close()

    async def test_clamd_behind_it_hangs(self) -> None:
        """Silence is an error within the timeout, and free again once clamd goes on."""
        with run_clamd() as clamd, run_c_icap(Path(str(clamd.unix))) as server:
            antivirus = started(server.tcp, within=0.5)
            await antivirus.start()
            clamd.signal(signal.SIGSTOP)
            began = asyncio.get_running_loop().time()
            assert (await antivirus.check(MemoryBody(b"clean"))).status is Status.ERROR
            assert asyncio.get_running_loop().time() - began < 3
            clamd.signal(signal.SIGCONT)
            assert await recover(antivirus) is Status.FREE
            await antivirus.close()

    async def test_killed_and_started_again(self, real_clamd: ClamdServer) -> None:
        """A killed c-icap is an error, a new one on its port answers without our restart."""
        with run_c_icap(Path(str(real_clamd.unix))) as server:
            antivirus = started(server.tcp)
            await antivirus.start()
            assert (await antivirus.check(MemoryBody(b"clean"))).status is Status.FREE
            server.signal(signal.SIGKILL)
            assert (await antivirus.check(MemoryBody(b"clean 2"))).status is Status.ERROR
            server.start()
            assert await recover(antivirus) is Status.FREE
            await antivirus.close()


async def recover(antivirus: Antivirus) -> Status:
    """The status once it is no error any more, or after ten seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    report: ScanReport = await antivirus.check(MemoryBody(b"clean again"))
    while report.status is Status.ERROR and loop.time() < deadline:
        report = await antivirus.check(MemoryBody(b"clean %d" % loop.time()))
    return report.status


class TestTls:
    """ICAP over TLS, by c-icap's own TlsPort."""

    async def test_icaps(self, real_clamd: ClamdServer, tmp_path: Path) -> None:
        """The same verdicts, previews, kept connections and large objects."""
        ca = trustme.CA()
        pem = tmp_path / "server.pem"
        pem.write_bytes(ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
        context = ssl.create_default_context()
        ca.configure_trust(context)
        with run_c_icap(Path(str(real_clamd.unix)), EVERY_TYPE, tls=pem) as server:
            engine = Icap(server.icaps, "/avscan", tls=context)
            assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
            for size in (0, 1, 5000, 5 * MIB):
                assert (await engine.ask(MemoryBody(b"x" * size))).status is Status.FREE
            await engine.close()
            early = Icap(server.icaps, "/virus_scan", tls=context)
            assert (await early.ask(MemoryBody(b"x" * 20 * MIB))).status is Status.FREE
            await early.close()
            stranger = Icap(server.icaps, "/avscan", tls=ssl.create_default_context())
            assert (await stranger.ask(MemoryBody(EICAR))).status is Status.ERROR
