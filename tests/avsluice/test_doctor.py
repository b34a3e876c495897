"""avsluice doctor."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from avsluice.__main__ import main
from tests.real.c_icap_server import CIcapServer
from tests.real.clamd_server import ClamdServer, run_clamd
from tests.real.valkey_server import find_port


@pytest.fixture(autouse=True)
def no_clamd_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` finds no clamd of this machine."""
    monkeypatch.setenv("AVSLUICE_CLAMD", "")


def write_policy(path: Path, engines: dict[str, Any], **more: Any) -> str:
    """A policy whose one gateway uses all the engines; `more` at the top level."""
    doc_acl = [{"name": "D", "antivirus": list(engines)}]
    gateway = {"doc-acl": doc_acl} if engines else {"doc-acl": [{"name": "D"}]}
    file = path / "policy.yaml"
    file.write_text(json.dumps({"antivirus": engines, "http-proxy": {"H": gateway}, **more}))
    return str(file)


def test_test_signatures_work_and_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The built-in engine is well, and protects nobody."""
    assert main(["doctor", write_policy(tmp_path, {"E": {"protocol": "auto", "max-checked-size": "2MiB"}})]) == 0
    out, err = capsys.readouterr()
    head, row, *_ = out.splitlines()
    assert head.split()[:5] == ["ANTIVIRUS", "PROTOCOL", "ENGINE", "VERSION", "PROVEN"]
    assert row.startswith("E          builtin   the built-in engine  builtin 1/0  yes     2MiB of 2MiB  found")
    assert err.startswith("warning: E: the built-in engine recognises EICAR and GTUBE and NO REAL VIRUS")


def test_a_required_real_engine_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Under require-real-engine test signatures alone are a problem."""
    policy = write_policy(tmp_path, {"E": {"protocol": "auto"}}, **{"require-real-engine": True})
    assert main(["doctor", policy]) == 1
    assert "problem: require-real-engine is set" in capsys.readouterr().err


def test_a_dead_engine_is_a_problem_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An engine that is down ends with 1 and what that means at the gateway."""
    address = str(tmp_path / "nobody")
    assert main(["doctor", write_policy(tmp_path, {"C": {"protocol": "clamav-net", "address": address}})]) == 1
    out, err = capsys.readouterr()
    assert "NOT FOUND: error" in out
    assert err.count("No such file or directory") == 2  # by FILDES, and by INSTREAM
    assert err.endswith("\n    http-proxy.H D refuses whatever it checks\n")


def test_no_engine_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A policy without engines is well, and that is said."""
    assert main(["doctor", write_policy(tmp_path, {})]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (2, "no enabled gateway uses an antivirus\n")


def test_bad_input_is_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A policy that does not load, and an engine that cannot be opened, are 2."""
    assert main(["doctor", "/no/such.yaml"]) == 2
    (tmp_path / "hashes").write_text("no digest\n")
    assert main(["doctor", write_policy(tmp_path, {"B": {"protocol": "builtin", "hashes": "hashes"}})]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "antivirus B: " in err


@pytest.mark.clamd
def test_two_roads_to_a_real_clamd(real_clamd: ClamdServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """By descriptor and by bytes a real clamd finds EICAR; --json has it all."""
    engines = {
        "U": {"protocol": "clamav-net", "address": str(real_clamd.unix), "max-checked-size": "2MiB"},
        "T": {"protocol": "clamav-net", "address": str(real_clamd.tcp), "max-checked-size": "2MiB"},
    }
    assert main(["doctor", "--json", write_policy(tmp_path, engines)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [e["engine"].rpartition(" ")[2] for e in told["engines"]] == ["FILDES", "INSTREAM"]
    assert all(e["well"] and e["proven"] and e["limit"] == 2 << 20 for e in told["engines"])
    assert (told["problems"], told["warnings"]) == ([], [])


@pytest.mark.clamd
def test_a_limit_in_clamd_is_told_with_its_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A clamd that scans less than max-checked-size is well, with a warning that says what to raise."""
    with run_clamd({"MaxFileSize": "2M", "StreamMaxLength": "2M"}) as server:
        section = {"protocol": "clamav-net", "address": str(server.unix), "max-checked-size": "5MiB"}
        assert main(["doctor", write_policy(tmp_path, {"C": section})]) == 0
    out, err = capsys.readouterr()
    assert "2MiB of 5MiB" in out
    assert err.startswith("warning: clamd at ")
    assert "Raise MaxFileSize, MaxScanSize and StreamMaxLength in clamd.conf" in err


@pytest.mark.clamd
@pytest.mark.c_icap
def test_every_kind_of_real_engine_beside_one_that_is_down(
    real_clamd: ClamdServer, real_c_icap: CIcapServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """By clamd's three roads and by ICAP, plain and zipped; the one that is down is the only problem."""
    terms = {"max-checked-size": "2MiB", "timeout": "10s"}
    (tmp_path / "comm").mkdir(mode=0o755)
    engines: dict[str, Any] = {
        "NET": {"protocol": "clamav-net", "address": [str(real_clamd.unix), str(real_clamd.tcp)]},
        "FILE": {"protocol": "clamav-file", "address": str(real_clamd.unix), "comm-dir": str(tmp_path / "comm")},
        "ICAP": {"protocol": "icap", "address": str(real_c_icap.tcp), "uri": "/avscan"},
        "BUILTIN": {"protocol": "builtin"},
        "DOWN": {"protocol": "icap", "address": f"127.0.0.1:{find_port()}", "uri": "/avscan"},
    }
    policy = write_policy(tmp_path, {name: section | terms for name, section in engines.items()})
    assert main(["doctor", "--json", policy]) == 1
    told = json.loads(capsys.readouterr().out)
    names = ["NET", "NET", "FILE", "ICAP", "BUILTIN", "DOWN"]
    assert [e["antivirus"] for e in told["engines"]] == names
    assert [(e["eicar"], e["zipped"], e["clean"]) for e in told["engines"][:5]] == [("found", "found", "free")] * 5
    assert [(e["proven"], e["well"], e["limit"]) for e in told["engines"][:5]] == [(True, True, 2 << 20)] * 5
    assert all(e["version"] and e["eicar_ms"] > 0 for e in told["engines"][:5])
    (problem,) = told["problems"]
    assert problem["text"].startswith("DOWN: icap://127.0.0.1:")
    assert problem["consequences"] == ["http-proxy.H D goes by what NET and FILE and ICAP says"]


@pytest.mark.clamd
def test_a_clamd_that_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Stopped, it answers nobody: a problem within `timeout`, that names the endpoint."""
    with run_clamd() as server:
        server.signal(signal.SIGSTOP)
        section = {"protocol": "clamav-net", "address": str(server.unix), "timeout": "500ms"}
        assert main(["doctor", write_policy(tmp_path, {"C": section})]) == 1
    out, err = capsys.readouterr()
    assert (out.count("NOT FOUND: error"), out.count("NOT FREE: error")) == (2, 1)
    assert err.startswith(f"problem: C: clamd at {server.unix} by FILDES: no proof within 0.5 s\n")
    assert err.endswith("\n    http-proxy.H D refuses whatever it checks\n")


@pytest.mark.clamd
def test_archives_that_clamd_does_not_look_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`ScanArchive no`: EICAR is found, but not in a zip, and the gateway would let that pass."""
    with run_clamd({"ScanArchive": "no"}) as server:
        section = {"protocol": "clamav-net", "address": str(server.unix), "max-checked-size": "2MiB"}
        policy = write_policy(tmp_path, {"C": section})
        assert main(["doctor", policy]) == 1
        alone = capsys.readouterr()
        beside = write_policy(tmp_path, {"C": section, "B": {"protocol": "builtin", "max-checked-size": "2MiB"}})
        assert main(["doctor", beside]) == 0
        helped = capsys.readouterr()
    text = f"C: clamd at {server.unix} by FILDES: EICAR in a zip archive was not found but `free`"
    assert "NOT FOUND: free" in alone.out
    assert alone.err == f"problem: {text}\n    http-proxy.H D would LET EICAR PASS in an archive\n"
    assert f"warning: {text}\n" in helped.err
