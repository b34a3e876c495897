"""The command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avsluice.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_every_command_has_its_module(capsys: pytest.CaptureFixture[str]):
    """Each command in the table can be asked for help."""
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"avsluice {name}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["check"], ["check", "a", "b"]])
def test_bad_usage_exits_with_two(argv: list[str], capsys: pytest.CaptureFixture[str]):
    """Usage errors are told on standard error."""
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]):
    """--version names the command and its version."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("avsluice 0.")


def test_help_imports_nothing_heavy():
    """Asking for help does not load the model, nor a command's module."""
    code = (
        "import sys\nfrom avsluice.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('pydantic', 'ruamel', 'policy', 'mitmproxy', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.rstrip().endswith("[]")


def run_in_shell(command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A line of a shell that tells of each command in a pipe; without a clamd that may be there."""
    line = f'avsluice() {{ "{sys.executable}" -m avsluice "$@"; }}; set -o pipefail; {command}'
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "AVSLUICE_CLAMD": ""}
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More files than a pipe has room for their lines."""
    directory = tmp_path_factory.mktemp("files")
    for number in range(2000):
        (directory / f"{number:04}-{100 * 'x'}").write_text("clean")
    return directory


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_scan_whose_reader_goes_away_ends_by_sigpipe(options: str, many_files: Path):
    """`avsluice scan DIR | head -1`: one line, no traceback, and not 1, which would mean that a virus was found."""
    done = run_in_shell(f"avsluice scan {options} . | head -1", many_files)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stdout.count("\n") == 1
    assert "0000-xxx" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(
    "command", ["schema | sleep 0", "check policy/default.yaml 2>&1 | sleep 0", "schema | head -1"]
)
def test_a_reader_that_goes_away_is_no_traceback(command: str):
    """Whatever the command: SIGPIPE, or nothing where all was written before."""
    done = run_in_shell(f"avsluice {command}")
    assert done.returncode in (0, 128 + signal.SIGPIPE)
    assert done.stderr == ""


def test_what_the_process_ends_by_is_the_signal():
    """Not only its number: a program that started us sees what it sees of others."""
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen([sys.executable, "-m", "avsluice", "schema"], cwd=ROOT, stdout=write) as started:
        os.close(write)
        assert started.wait(30) == -signal.SIGPIPE


@pytest.mark.parametrize(
    ("redirection", "why"),
    [(">/dev/full", "[Errno 28] No space left on device"), (">&-", "standard output is closed")],
)
@pytest.mark.parametrize("command", ["scan README.md", "schema", "--help"])
def test_results_that_cannot_be_written_are_two(command: str, redirection: str, why: str):
    """1 would mean that a virus was found."""
    done = run_in_shell(f"avsluice {command} {redirection}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"avsluice: {why}"


def test_what_no_command_expected_is_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """With everything that helps to find out; 1 would be an answer."""
    monkeypatch.setattr("avsluice.schema.spell_schema", lambda: 1 // 0)
    monkeypatch.setattr("avsluice.__main__._forget_output", lambda: None)
    assert main(["schema"]) == 2
    assert capsys.readouterr().err.endswith("ZeroDivisionError: integer division or modulo by zero\n")
