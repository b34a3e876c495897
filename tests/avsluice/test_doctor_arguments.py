"""The words of avsluice doctor."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from avsluice.__main__ import main
from avsluice.passages.files import Login


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """One without engines, and with a gateway that is nowhere."""
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps({"http-proxy": {"H": {"doc-acl": [{"name": "D"}]}}}))
    return str(file)


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No password anywhere, and no terminal."""
    monkeypatch.delenv("AVSLUICE_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--only", "ftp-proxy.F"], "--only ftp-proxy.F: there is no such gateway; there are http-proxy.H"),
        (["--ftp-login", "me"], "--ftp-login needs a password: --ftp-password-file FILE, or AVSLUICE_PASSWORD"),
        (["--ftp-login", "me", "--ftp-password-file", "/no/such"], "No such file or directory"),
        (["--mail-from", "me@example.org"], "--mail-from goes with --mail-to"),
        (["--mail-to", "me@example.org>\r\nRSET"], "is no mail address"),
        (["--mail-to", "ö@example.org"], "ASCII"),
    ],
)
def test_what_cannot_be_meant_is_two(policy: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    """Told before anything is asked."""
    assert main(["doctor", policy, *words]) == 2
    out, err = capsys.readouterr()
    assert (out, told in err) == ("", True), err


def test_control_characters_are_refused(policy: str, monkeypatch: pytest.MonkeyPatch):
    """In a user, a password or a directory they would be further commands."""
    monkeypatch.setenv("AVSLUICE_PASSWORD", "x\ny")
    assert main(["doctor", policy, "--ftp-login", "me"]) == 2
    monkeypatch.setenv("AVSLUICE_PASSWORD", "x")
    assert main(["doctor", policy, "--ftp-login", "me\r\nDELE x"]) == 2
    assert main(["doctor", policy, "--ftp-login", "me", "--ftp-directory", "/\r\n"]) == 2


def test_the_password_is_no_part_of_what_is_printed():
    """Not even where a traceback shows the login."""
    assert "geheim" not in repr(Login("me", "geheim"))
