"""From the policy's sections to engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from policy.model import Policy
from policy.verdict import Coverage, Status
from scanners import registry
from scanners.antivirus import RealEngineMissing
from scanners.body import MemoryBody
from scanners.fake import FakeClamd, Fault
from scanners.fake_drweb import FakeDrweb
from scanners.registry import EngineNotBuilt, EngineUnusable, open_antivirus
from tests.real.clamd_server import ClamdServer
from tests.scanners.scripted import CLEAN, INFECTED


def policy(sections: Mapping[str, Mapping[str, object]], *, real: bool = False) -> Policy:
    """A policy with these antivirus sections and nothing else."""
    return Policy.model_validate({"antivirus": sections, "require-real-engine": real})


NET = {"protocol": "clamav-net", "address": "127.0.0.1:1", "timeout": "1s"}


async def test_the_named_sections_are_opened_each_once() -> None:
    """Only what is named is opened, however often it is named."""
    opened = open_antivirus(policy({"A": NET, "B": {"protocol": "builtin"}}), ["A", "B", "A"])
    assert list(opened) == ["A", "B"]
    assert [a.name for a in opened.values()] == ["A", "B"]
    assert [a.protocol for a in opened.values()] == ["clamav-net", "builtin"]
    assert [a.coverage for a in opened.values()] == [Coverage.FULL, Coverage.TEST_SIGNATURES]


async def test_what_is_not_built_is_named_and_only_if_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol that is not spoken is an error with its name, where it is used."""
    monkeypatch.delitem(registry._FACTORIES, "icap")
    section = {"protocol": "icap", "address": "127.0.0.1", "uri": "/av/respmod"}
    made = policy({"LATER": section, "B": {"protocol": "builtin"}})
    with pytest.raises(EngineNotBuilt, match="antivirus LATER: protocol icap is not built"):
        open_antivirus(made, ["LATER"])
    assert list(open_antivirus(made, ["B"])) == ["B"]


async def test_every_address_is_an_endpoint_with_the_sections_terms(short_directory: Path) -> None:
    """A list of addresses is a pool; Unix sockets pass descriptors, TCP sends bytes."""
    async with FakeClamd(short_directory / "a") as one, FakeClamd() as two:
        addresses = [str(one.address), str(two.address)]
        section = {"protocol": "clamav-net", "address": addresses, "max-checked-size": "2KiB"}
        antivirus = open_antivirus(policy({"A": section}), ["A"])["A"]
        await antivirus.start()
        assert [str(e.engine) for e in antivirus.endpoints] == [
            f"clamd at {one.address} by FILDES",
            f"clamd at {two.address} by INSTREAM",
        ]
        assert (await antivirus.check(MemoryBody(b"x" * 2049))).status is Status.SKIPPED
        assert (await antivirus.check(MemoryBody(b"x" * 2048))).status is Status.FREE
        await antivirus.close()


async def test_auto_transport_falls_back_to_the_stream(short_directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where descriptors cannot be passed the bytes are sent, with a log line."""
    async with FakeClamd(short_directory / "s") as fake:
        fake.takes_descriptors = False
        section = {"protocol": "clamav-net", "address": str(fake.address), "max-checked-size": "1KiB"}
        antivirus = open_antivirus(policy({"A": section}), ["A"])["A"]
        await antivirus.start()
        assert "INSTREAM is used instead" in caplog.text
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        await antivirus.close()


@pytest.mark.parametrize("transport", ["fildes", "instream"])
async def test_a_named_transport_is_the_only_one(transport: str, short_directory: Path) -> None:
    """What the policy names is used, and nothing instead."""
    async with FakeClamd(short_directory / "s") as fake:
        fake.takes_descriptors = False
        section = {"protocol": "clamav-net", "address": str(fake.address), "transport": transport}
        antivirus = open_antivirus(policy({"A": section}), ["A"])["A"]
        await antivirus.start()
        expected = Status.ERROR if transport == "fildes" else Status.FREE
        assert (await antivirus.check(CLEAN)).status is expected
        await antivirus.close()


async def test_listed_hashes_are_found(tmp_path: Path) -> None:
    """`hashes` of the built-in engine is a file as sha256sum writes it."""
    body = MemoryBody(b"secret plan")
    (tmp_path / "hashes").write_text(f"# ours\n{body.sha256.upper()}  Secret-Plan\n")
    section = {"protocol": "builtin", "hashes": str(tmp_path / "hashes")}
    antivirus = open_antivirus(policy({"B": section}), ["B"])["B"]
    await antivirus.start()
    assert (await antivirus.check(body)).virus == "Secret-Plan"
    await antivirus.close()


@pytest.mark.parametrize(("text", "problem"), [("what?\n", "hashes:1"), (None, "No such file")])
async def test_a_bad_file_of_hashes_is_named(tmp_path: Path, text: str | None, problem: str) -> None:
    """A file that cannot be read, or says something else, is an error with section, file and line."""
    if text is not None:
        (tmp_path / "hashes").write_text(text)
    made = policy({"B": {"protocol": "builtin", "hashes": str(tmp_path / "hashes")}})
    with pytest.raises(EngineUnusable, match=rf"antivirus B: .*{problem}"):
        open_antivirus(made, ["B"])


async def test_yara_rules_are_found(tmp_path: Path) -> None:
    """`yara-rules` of the built-in engine is a file of rules; the version tells them apart."""
    (tmp_path / "x.yar").write_text('rule Secret { strings: $s = "secret plan" condition: $s }')
    section = {"protocol": "builtin", "yara-rules": str(tmp_path / "x.yar"), "max-checked-size": "2MiB"}
    antivirus = open_antivirus(policy({"B": section}), ["B"])["B"]
    await antivirus.start()
    report = await antivirus.check(MemoryBody(b"a secret plan"))
    assert (report.status, report.virus) == (Status.FOUND, "Secret")
    assert (await antivirus.check(CLEAN)).status is Status.FREE
    assert ", yara-x " in report.version
    assert ", 1 rule " in report.version
    await antivirus.close()


@pytest.mark.parametrize(("text", "problem"), [("rule X {", r"x\.yar:1:9: syntax error"), (None, "No such file")])
async def test_bad_yara_rules_are_named(tmp_path: Path, text: str | None, problem: str) -> None:
    """Rules that cannot be compiled are an error with section, file and line, before anything starts."""
    if text is not None:
        (tmp_path / "x.yar").write_text(text)
    made = policy({"B": {"protocol": "builtin", "yara-rules": str(tmp_path / "x.yar")}})
    with pytest.raises(EngineUnusable, match=rf"antivirus B: .*{problem}"):
        open_antivirus(made, ["B"])


class TestRequireRealEngine:
    """`require-real-engine: true`."""

    async def test_only_the_built_in_engine_is_refused(self) -> None:
        """A policy that uses nothing but the built-in engine does not open."""
        made = policy({"A": NET, "B": {"protocol": "builtin"}}, real=True)
        with pytest.raises(RealEngineMissing, match="only the built-in engine"):
            open_antivirus(made, ["B"])
        assert list(open_antivirus(made, ["A", "B"])) == ["A", "B"]

    async def test_auto_without_clamd_does_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`auto` that finds nothing is an error, not a banner."""
        monkeypatch.setenv("AVSLUICE_CLAMD", "")
        antivirus = open_antivirus(policy({"A": {"protocol": "auto"}}, real=True), ["A"])["A"]
        with pytest.raises(RealEngineMissing, match="no clamd was found"):
            await antivirus.start()

    async def test_a_clamd_that_is_down_does_not_start(self) -> None:
        """A configured engine that is not there is an error that names its address."""
        antivirus = open_antivirus(policy({"A": NET}, real=True), ["A"])["A"]
        with pytest.raises(RealEngineMissing, match=r"127\.0\.0\.1:1"):
            await antivirus.start()

    async def test_its_loss_is_error(self) -> None:
        """A proven engine that goes away later is error."""
        async with FakeClamd() as fake:
            section = {"protocol": "clamav-net", "address": str(fake.address), "max-checked-size": "1KiB"}
            antivirus = open_antivirus(policy({"A": section}, real=True), ["A"])["A"]
            await antivirus.start()
            assert (await antivirus.check(CLEAN)).status is Status.FREE
        assert (await antivirus.check(MemoryBody(b"never seen"))).status is Status.ERROR
        await antivirus.close()


async def test_auto_takes_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` looks at the places in AVSLUICE_CLAMD."""
    async with FakeClamd() as fake:
        monkeypatch.setenv("AVSLUICE_CLAMD", str(fake.address))
        antivirus = open_antivirus(policy({"A": {"protocol": "auto"}}), ["A"])["A"]
        await antivirus.start()
        assert (await antivirus.check(CLEAN)).protocol == "clamav-net"
        await antivirus.close()


async def test_auto_refuses_a_blind_clamd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says OK to EICAR is not taken."""
    async with FakeClamd(fault=Fault.BLIND) as fake:
        fake.blind_to_eicar = True
        monkeypatch.setenv("AVSLUICE_CLAMD", str(fake.address))
        antivirus = open_antivirus(policy({"A": {"protocol": "auto"}}), ["A"])["A"]
        await antivirus.start()
        assert antivirus.coverage is Coverage.TEST_SIGNATURES
        await antivirus.close()


@pytest.mark.clamd
async def test_a_whole_section_against_a_real_clamd(real_clamd: ClamdServer) -> None:
    """From the policy's words to the verdicts of a real clamd on both of its addresses."""
    sections = {
        "UNIX": {"protocol": "clamav-net", "address": str(real_clamd.unix)},
        "TCP": {"protocol": "clamav-net", "address": str(real_clamd.tcp), "max-checked-size": "10MiB"},
    }
    for antivirus in open_antivirus(policy(sections), sections).values():
        await antivirus.start()
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        assert (await antivirus.check(MemoryBody(b"x" * 5_000_000))).status is Status.FREE
        assert antivirus.banner is None
        await antivirus.close()


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("clamav-file", "clamd at {} by SCAN in {}"),
        ("drweb-net", "drwebd at {}"),
        ("drweb-file", "drwebd at {} by path in {}"),
    ],
)
async def test_engines_by_path_and_drweb(protocol: str, says: str, short_directory: Path) -> None:
    """From the policy's words to verdicts by the other roads, each address an endpoint of its own."""
    comm = short_directory / "comm"
    comm.mkdir()
    make = FakeClamd if protocol.startswith("clamav") else FakeDrweb
    async with make(short_directory / "s") as one, make() as two:
        section: dict[str, object] = {"protocol": protocol, "address": [str(one.address), str(two.address)]}
        if protocol.endswith("file"):
            section["comm-dir"] = str(comm)
        antivirus = open_antivirus(policy({"A": {**section, "max-checked-size": "2MiB"}}), ["A"])["A"]
        await antivirus.start()
        assert [str(e.engine) for e in antivirus.endpoints] == [says.format(s.address, comm) for s in (one, two)]
        assert (await antivirus.check(INFECTED)).status is Status.FOUND
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        assert (await antivirus.check(MemoryBody(b"x" * (2 << 20)))).status is Status.FREE
        assert (await antivirus.check(MemoryBody(b"x" * ((2 << 20) + 1)))).status is Status.SKIPPED
        await antivirus.close()
        assert os.listdir(comm) == []


@pytest.mark.parametrize("protocol", ["clamav-file", "drweb-file"])
def test_a_path_map_that_does_not_reach_is_named(protocol: str) -> None:
    """A path-map without the comm-dir is an error with the section's name."""
    section = {"protocol": protocol, "address": "127.0.0.1:1", "comm-dir": "/a", "path-map": {"/b": "/c"}}
    with pytest.raises(EngineUnusable, match="antivirus A: comm-dir /a lies below no prefix of path-map"):
        open_antivirus(policy({"A": section}), ["A"])
