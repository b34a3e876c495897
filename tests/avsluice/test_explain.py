"""avsluice explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsluice.__main__ import main
from policy.load import default_policy_path

CHAPTER = str(Path(__file__).parents[2] / "examples/chapter/policy.yaml")
DEFAULT = str(default_policy_path())


def explain(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> list[str]:
    assert main(["explain", *argv]) == code
    return capsys.readouterr().out.splitlines()


def test_an_object_and_one_status(capsys: pytest.CaptureFixture[str]):
    """The trace comes first, then the decision."""
    argv = ("--url", "http://e/a.zip", "--content-type", "application/zip", "--virus-status", "found")
    assert explain(capsys, DEFAULT, "http-proxy.HTTP", *argv) == [
        "doc-acl EVENT-STREAM: no match: content-type is application/zip, not text/event-stream",
        "doc-acl DOCUMENTS: matched: it has no conditions",
        "virus-status found: deny (virus-found) by DOCUMENTS",
    ]


def test_without_a_status_all_five_are_shown(capsys: pytest.CaptureFixture[str]):
    """One sees at once what each result of the check would lead to."""
    lines = explain(capsys, CHAPTER, "smtp-proxy.SMTP")
    assert lines == [
        "virus-status free: accept by MAILOK - the document: accept by DOCOK",
        "virus-status found: discard (virus-found) by VIRUS with quarantine",
        "virus-status skipped: discard (antivirus-status) by AV-UNKNOWN with quarantine",
        "virus-status unknown: discard (antivirus-status) by AV-UNKNOWN with quarantine",
        "virus-status error: defer (antivirus-error) by AV-ERROR",
    ]


def test_what_is_not_checked_has_one_answer(capsys: pytest.CaptureFixture[str]):
    """No status matters where no engine is asked."""
    lines = explain(capsys, DEFAULT, "http-proxy.HTTP", "--content-type", "text/event-stream")
    assert lines[-1] == "accept by EVENT-STREAM"


def test_a_mail_with_its_envelope(capsys: pytest.CaptureFixture[str]):
    """Sender and recipients are facts of a mail, the type is its document's."""
    argv = ("--sender", "a@b", "--recipient", "c@d", "--recipient", "e@f", "--filename", "a.zip")
    lines = explain(capsys, CHAPTER, "pop3-proxy.POP3", *argv, "--virus-status", "found")
    assert lines[0] == "command-acl CMDOK: matched: it has no conditions"
    assert lines[-1] == "virus-status found: accept by MAILOK - the document: replace by REPLACE-INFECTED"


def test_the_session_is_judged_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A client that may not connect has no object."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "antivirus: {A: {protocol: auto}}\nhttp-proxy:\n  H:\n    doc-acl: [{name: D, antivirus: A}]\n"
        "    session-acl: [{name: LAN, when: {client: 10.0.0.0/8}, action: permit}]\n"
    )
    assert explain(capsys, str(path), "http-proxy.H", "--client", "8.8.8.8") == [
        "session-acl LAN: no match: client is 8.8.8.8, not 10.0.0.0/8",
        "deny (no-acl)",
    ]
    assert explain(capsys, str(path), "http-proxy.H", "--client", "10.0.0.1")[-1].startswith("virus-status error")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            (DEFAULT, "http-proxy.HTTP", "--virus-status", "bad"),
            "--virus-status: 'bad' is not possible here; write one of free, found, skipped, unknown, error",
        ),
        (
            (CHAPTER, "smtp-proxy.SMTP", "--size", "big"),
            "--size: 'big' is not a size; write bytes (2000) or for example 64KiB, 1MB",
        ),
        ((DEFAULT, "http-proxy.HTPT"), "no gateway is called http-proxy.HTPT; did you mean http-proxy.HTTP?"),
        (("/no/such.yaml", "http-proxy.HTTP"), "/no/such.yaml:1:1: file: does not exist"),
    ],
)
def test_bad_input_exits_with_two(argv: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]):
    """A fact that makes no sense is told by its option."""
    assert explain(capsys, *argv, code=2) == [line]
