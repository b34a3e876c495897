"""avsluice scan."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from avsluice.__main__ import main
from avsluice.engines import open_engines, started
from avsluice.file_tree import Entry
from avsluice.scan import Scan, choose_names
from policy.model import Policy
from policy.verdict import Status
from scanners.engine import Body
from scanners.fake import FakeClamd, Fault
from scanners.specimens import EICAR
from tests.real.clamd_server import ClamdServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_clamd_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` finds no clamd of this machine."""
    monkeypatch.setenv("AVSLUICE_CLAMD", "")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a clean and an infected file."""
    made = tmp_path / "tree"
    (made / "sub").mkdir(parents=True)
    (made / "clean").write_bytes(b"hello")
    (made / "sub" / "eicar").write_bytes(EICAR)
    return made


def write_policy(path: Path, address: object, **more: object) -> Path:
    """A policy with one clamd, used by one gateway."""
    section = {"protocol": "clamav-net", "address": str(address), "max-checked-size": "1MiB", **more}
    doc_acl = [{"name": "A", "antivirus": ["CLAMD"]}]
    file = path / "policy.yaml"
    file.write_text(json.dumps({"antivirus": {"CLAMD": section}, "http-proxy": {"HTTP": {"doc-acl": doc_acl}}}))
    return file


def test_without_a_policy_the_engine_is_auto(tree: Path, capsys: pytest.CaptureFixture[str]):
    """Directories are scanned recursively; something found is 1; the banner and the sum are on standard error."""
    assert main(["scan", str(tree)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tree}/clean: free\n{tree}/sub/eicar: found Eicar-Test-Signature\n"
    assert "NO ANTIVIRUS ENGINE WAS FOUND" in err
    assert err.endswith("1 free, 1 found\n")


def test_all_free_is_zero(tree: Path, capsys: pytest.CaptureFixture[str]):
    """Only free files are success."""
    assert main(["scan", f"{tree}/clean"]) == 0
    assert capsys.readouterr().out == f"{tree}/clean: free\n"


def test_what_cannot_be_scanned_is_two(tree: Path, capsys: pytest.CaptureFixture[str]):
    """A pipe and a file that is not there are told; nothing was found, but not all was free."""
    (tree / "sub" / "eicar").unlink()
    os.mkfifo(tree / "pipe")
    assert main(["scan", str(tree), f"{tree}/none"]) == 2
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [f"{tree}/pipe: skipped (it is a named pipe)", f"{tree}/none: error (No such file or directory)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_told(tree: Path, capsys: pytest.CaptureFixture[str]):
    """A file that we may not read is an error of its own."""
    (tree / "clean").chmod(0)
    assert main(["scan", f"{tree}/clean"]) == 2
    assert capsys.readouterr().out == f"{tree}/clean: error (Permission denied)\n"


def test_found_prevails_over_trouble(tree: Path):
    """One virus among files that could not be scanned is 1."""
    assert main(["scan", f"{tree}/none", str(tree)]) == 1


def test_json_has_digest_and_engines(tree: Path, capsys: pytest.CaptureFixture[str]):
    """--json is one object a line, with what the audit record has."""
    assert main(["scan", "--json", str(tree)]) == 1
    _clean, found = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["sha256"] == "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
    assert (found["status"], found["size"]) == ("found", 68)
    assert found["engines"][0]["coverage"] == "test-signatures"


def test_a_name_stays_on_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A name with a line end in it cannot pretend to be another file's line."""
    (tmp_path / "a: free\nb").write_bytes(b"x")
    assert main(["scan", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a: free\\nb: free\n"


def test_a_wrong_antivirus_is_bad_input(tree: Path, capsys: pytest.CaptureFixture[str]):
    """An engine that the policy does not name is 2, and the nearest name is offered."""
    assert main(["scan", "--antivirus", "ENGIN", str(tree)]) == 2
    assert "ENGINE" in capsys.readouterr().err


def test_a_dead_engine_scans_nothing(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Where the engine was not proven, no file is said to be anything."""
    policy = write_policy(tmp_path, tmp_path / "nobody")
    assert main(["scan", "--policy", str(policy), str(tree)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "CLAMD was not shown to find EICAR" in err


def test_engines_are_those_that_gateways_use():
    """Named ones first, else those of enabled gateways, else all."""
    proxy = {"enabled": True, "doc-acl": [{"name": "A", "antivirus": ["B"]}]}
    engines = {"A": {"protocol": "builtin"}, "B": {"protocol": "builtin"}}
    policy = Policy.model_validate({"antivirus": engines, "http-proxy": {"H": proxy}})
    assert choose_names(policy, None) == ["B"]
    assert choose_names(policy, ["A"]) == ["A"]
    idle = Policy.model_validate({"antivirus": engines, "http-proxy": {"H": {**proxy, "enabled": False}}})
    assert choose_names(idle, None) == ["A", "B"]


@pytest.mark.clamd
def test_a_real_clamd_is_asked(real_clamd: ClamdServer, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Clean, empty, infected and too large files by a real clamd."""
    (tree / "empty").touch()
    (tree / "large").write_bytes(bytes((1 << 20) + 1))
    policy = write_policy(tmp_path, real_clamd.unix)
    assert main(["scan", "--policy", str(policy), str(tree)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{tree}/clean: free", f"{tree}/empty: free"]
    assert lines[2].startswith(f"{tree}/large: skipped (1048577 bytes are more than max-checked-size")
    assert lines[3].startswith(f"{tree}/sub/eicar: found Eicar-Test")


class TestInside:
    """The scan without its command."""

    @pytest.fixture
    async def fake(self) -> AsyncIterator[FakeClamd]:
        """A clamd that does as it is told."""
        async with FakeClamd() as fake:
            yield fake

    def make(self, fake: FakeClamd, concurrency: int = 8) -> Scan:
        """A scan by that clamd; not started."""
        section = {"protocol": "clamav-net", "address": str(fake.address), "max-checked-size": "1MiB"}
        policy = Policy.model_validate({"antivirus": {"C": {**section, "concurrency": concurrency}}})
        return Scan(policy, list(open_engines(policy, ["C"]).values()))

    async def test_a_file_that_changes_is_an_error(
        self, fake: FakeClamd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """A clean verdict on a file that was written to meanwhile is not believed; a virus found in it is."""
        path = tmp_path / "f"
        scan = self.make(fake)
        check = scan.antiviruses[0].check

        async def change_and_check(body: Body) -> object:
            with path.open("ab") as more:
                more.write(b"!")
            return await check(body)

        async with started(scan.antiviruses):
            monkeypatch.setattr(scan.antiviruses[0], "check", change_and_check)
            path.write_bytes(b"clean")
            report = await scan.report(Entry(str(path)))
            assert (report.status, report.detail) == (Status.ERROR, "it changed while it was scanned")
            path.write_bytes(EICAR)
            assert (await scan.report(Entry(str(path)))).status is Status.FOUND

    @pytest.mark.parametrize("fault", [Fault.ERROR, Fault.GARBAGE, Fault.RESET])
    async def test_trouble_is_no_clean_file(self, fake: FakeClamd, tmp_path: Path, fault: Fault):
        """What clamd does not call clean in good order is never free."""
        (tmp_path / "f").write_bytes(b"clean")
        scan = self.make(fake)
        async with started(scan.antiviruses):
            fake.fault = fault
            report = await scan.report(Entry(str(tmp_path / "f")))
        assert report.status in (Status.ERROR, Status.UNKNOWN)

    async def test_a_file_that_goes_away_is_told(self, fake: FakeClamd, tmp_path: Path):
        """What was there when the directory was read may be gone when its turn comes."""
        report = await self.make(fake).report(Entry(str(tmp_path / "gone")))
        assert (report.status, report.detail) == (Status.ERROR, "No such file or directory")

    async def test_reports_come_in_order_and_bounded(self, fake: FakeClamd, tmp_path: Path):
        """Hundreds of files, a few at a time: each is reported once, in order, and nothing is left open."""
        files = [tmp_path / f"{n:03}" for n in range(300)]
        for file in files:
            file.write_bytes(b"clean")
        paths = [str(file) for file in files]
        scan = self.make(fake, concurrency=3)
        async with started(scan.antiviruses):
            before = len(os.listdir("/proc/self/fd"))
            told = [report async for report in scan.reports(iter(map(Entry, paths)))]
            async with asyncio.timeout(5):
                await fake.idle()
            after = len(os.listdir("/proc/self/fd"))
        assert [report.path for report in told] == paths
        assert {report.status for report in told} == {Status.FREE}
        assert after <= before

    async def test_an_end_before_the_end_leaves_nothing(self, fake: FakeClamd, tmp_path: Path):
        """Who stops listening ends the checks under way."""
        (tmp_path / "f").write_bytes(b"clean")
        scan = self.make(fake)
        async with started(scan.antiviruses):
            fake.fault = Fault.SILENCE
            listening = asyncio.get_running_loop().create_task(anext(scan.reports(iter([Entry(str(tmp_path / "f"))]))))
            while fake.connections == 0:  # noqa: ASYNC110 - the fake tells nobody
                await asyncio.sleep(0)
            listening.cancel()
            await asyncio.wait([listening])
            async with asyncio.timeout(5):
                await fake.idle()
        assert listening.cancelled()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What we start hears SIGINT: a shell lets what it starts in the background ignore it, and so would our child."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_it_quietly(tmp_path: Path):
    """Ctrl-C in the middle ends with 130, without a traceback, and gives back what was said before."""
    for n in range(3000):
        (tmp_path / f"{n:04}").write_bytes(b"x")
    command = [sys.executable, "-m", "avsluice", "scan", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(": free\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
