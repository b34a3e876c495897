"""The command itself."""

from __future__ import annotations

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


def test_a_reader_that_goes_away_is_no_traceback():
    """`avsluice schema | head -1` ends quietly."""
    command = f"{sys.executable} -m avsluice schema | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)  # noqa: S602 - the pipe is the point
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
