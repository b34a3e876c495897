"""avsluice quarantine, but for release."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from avsluice.__main__ import main
from inspection.record import new_id
from tests.avsluice.stocked import MAIL, Stock


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    return Stock(tmp_path)


def run(stock: Stock, action: str, *words: str) -> int:
    return main(["quarantine", action, str(stock.policy), *words])


def listed(stock: Stock, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert run(stock, "list", "--json", *words) == 0
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


def test_list_shows_every_quarantine_of_the_policy(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """One line an entry, the oldest first, from the policy's own quarantine and those of its gateways."""
    file, mail = stock.keep_file(), stock.keep_mail()
    assert run(stock, "list") == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.split() == ["ID", "TIME", "SIZE", "STATUS", "VIRUS", "PROXY", "WHAT"]
    assert [line.split()[0] for line in lines] == [file, mail]
    assert "<eve@example.net> -> bob@example.org (+1)  hello" in lines[1]
    assert err == f"2 entries, {10 + len(MAIL)} bytes\n"


def test_an_empty_quarantine_lists_nothing(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Without entries standard output is empty, and that is no failure."""
    assert run(stock, "list") == 0
    assert capsys.readouterr() == ("", "0 entries, 0 bytes\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--status", "unknown"], {"u"}),
        (["--virus", "eic*"], {"f", "m"}),
        (["--sender", "EVE@*"], {"m"}),
        (["--recipient", "amy@*"], {"m"}),
        (["--proxy", "http-proxy.*"], {"f", "u"}),
        (["--tag", "ACL3M:VIRUS"], {"m"}),
        (["--older", "1h"], set()),
        (["--newer", "1h", "--status", "found"], {"f", "m"}),
    ],
)
def test_filters(stock: Stock, capsys: pytest.CaptureFixture[str], words: list[str], expected: set[str]):
    """Each filter leaves out what it does not match; together all must match."""
    ids = {"f": stock.keep_file(), "u": stock.keep_file(status="unknown", virus=None), "m": stock.keep_mail()}
    assert set(listed(stock, capsys, *words)) == {ids[name] for name in expected}


def test_show_tells_all_but_the_content(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Metadata, documents and tag are shown; no byte of the mail is, until it is asked for."""
    mail = stock.keep_mail()
    assert run(stock, "show", mail) == 0
    out = capsys.readouterr().out
    assert "sender: eve@example.net\n" in out
    assert "recipients:\n  bob@example.org\n  amy@example.org\n" in out
    assert "  part=1.2  filename=a.zip  status=found  virus=Eicar\n" in out
    assert "tag: ACL3M:VIRUS\n" in out
    assert "X5O" not in out
    assert run(stock, "show", mail, "--content") == 0
    assert "Subject: hello\n\nX5O\n.\nbye\n" in capsys.readouterr().out


def test_nothing_of_a_peer_reaches_the_terminal_raw(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Escape sequences and bidi marks in metadata and content come out as numbers, in every output."""
    entry = stock.keep_mail(b"\x1b[2J\x9b31m\r\n", subject="\x1b]0;x\x07\u202e", sender="a\x1b[2J@x")
    assert run(stock, "list") == 0
    assert run(stock, "show", entry, "--content") == 0
    assert run(stock, "show", entry, "--content", "--json") == 0
    assert run(stock, "show", "\x1b[31m") == 1
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(out + err)
    assert "\\u001b]0;x" in out


@pytest.mark.parametrize("odd", ["../../etc/passwd", "", "a" * 20, "ABCDEFGHIJKLMNOPQRST", "%s%n", "..", "a/b"])
def test_odd_ids_are_not_there(stock: Stock, capsys: pytest.CaptureFixture[str], odd: str):
    """An id that is none of ours is told as missing, whatever it looks like; the others are seen to."""
    mail = stock.keep_mail()
    for action in ("show", "delete"):
        assert run(stock, action, odd, mail) == 1
        out, err = capsys.readouterr()
        assert err == f"{odd}: no such entry\n"
        assert mail in out


def test_delete_by_id_and_by_filter(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """What is named goes, both files of it, and is told; the rest stays."""
    first, second, mail = stock.keep_file(), stock.keep_file(status="unknown"), stock.keep_mail()
    assert run(stock, "delete", first, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"id": first, "deleted": True}
    assert run(stock, "delete", "--status", "unknown") == 0
    assert capsys.readouterr().out == f"{second}: deleted\n"
    assert listed(stock, capsys) == [mail]
    assert os.listdir(stock.directory / "kept") == []


def test_delete_without_a_choice_is_refused(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Nobody empties a quarantine by a slip: without ids and filters it takes --all."""
    mail = stock.keep_mail()
    assert run(stock, "delete") == 2
    assert run(stock, "delete", mail, "--all") == 2
    assert listed(stock, capsys) == [mail]
    assert run(stock, "delete", "--all") == 0
    assert listed(stock, capsys) == []


def test_an_entry_that_vanishes_meanwhile_is_told(stock: Stock, capsys, monkeypatch: pytest.MonkeyPatch):
    """An entry that is removed between looking and reading fails by itself, and the next one is seen to."""
    gone, mail = stock.keep_file(), stock.keep_mail()
    target = stock.directory / "out"
    target.mkdir()
    (stock.directory / "kept" / f"{gone}.data").unlink()
    monkeypatch.setattr("inspection.shelf.os.stat", _blind(os.stat, f"{gone}.data"))
    assert run(stock, "export", gone, mail, "-o", str(target)) == 1
    out, err = capsys.readouterr()
    assert err == f"{gone}: has gone meanwhile\n"
    assert out.startswith(f"{mail}: path ")


def _blind(stat, name):
    """A stat to which that file is still there."""
    return lambda path, **words: stat(__file__) if path == name else stat(path, **words)


def test_export_writes_the_original_bytes(stock: Stock, capfdbinary: pytest.CaptureFixture[bytes]):
    """To standard output without a word of ours."""
    mail = stock.keep_mail()
    assert run(stock, "export", mail) == 0
    assert capfdbinary.readouterr().out == MAIL


def test_export_overwrites_nothing(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """A file that is there stays as it is, unless --force; a new one is private to its owner; no part is left."""
    mail = stock.keep_mail()
    out = stock.directory / "out"
    out.mkdir()
    taken = out / "mine"
    taken.write_text("mine")
    assert run(stock, "export", mail, "--output", str(taken)) == 1
    assert taken.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err
    assert run(stock, "export", mail, "--output", str(taken), "--force") == 0
    assert taken.read_bytes() == MAIL
    assert run(stock, "export", mail, "--output", str(out)) == 0
    assert sorted(os.listdir(out)) == [f"{mail}.eml", "mine"]
    assert (out / f"{mail}.eml").stat().st_mode & 0o777 == 0o600


def test_export_does_not_follow_links(stock: Stock):
    """A link that waits under the name is no way to write elsewhere, also where it leads to nothing yet."""
    mail = stock.keep_mail()
    (stock.directory / "link").symlink_to(stock.directory / "elsewhere")
    assert run(stock, "export", mail, "-o", str(stock.directory / "link")) == 1
    assert not (stock.directory / "elsewhere").exists()


def test_damaged_bytes_are_not_handed_out(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """What no longer has the SHA-256 of what was kept is an error, and no file is left."""
    mail = stock.keep_mail()
    (stock.directory / "kept-mail" / f"{mail}.data").write_bytes(b"other")
    assert run(stock, "export", mail, "-o", str(stock.directory / "out")) == 1
    assert "not those that were kept" in capsys.readouterr().err
    assert not (stock.directory / "out").exists()


def test_expire_removes_what_is_old_and_halves(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Entries past max-age go, then the oldest down to a size, and what a crash left."""
    old, older, mail = stock.keep_file(), stock.keep_file(), stock.keep_mail()
    for name in ("data", "json"):
        os.utime(stock.directory / "kept" / f"{old}.{name}", (1, 1))
    half = stock.directory / "kept" / f"{new_id()}.data.tmp"
    half.write_bytes(b"half")
    assert run(stock, "expire") == 0
    assert capsys.readouterr().out == f"{stock.directory}/kept: 1 expired\n{stock.directory}/kept-mail: 0 expired\n"
    assert not half.exists()
    assert listed(stock, capsys) == [older, mail]
    assert run(stock, "expire", "--down-to", "0", "--json") == 0
    assert [json.loads(line)["expired"] for line in capsys.readouterr().out.splitlines()] == [1, 1]


def test_half_entries_are_not_entries(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """Data without metadata, metadata without data and broken JSON are nobody's entry, and stop nothing."""
    mail = stock.keep_mail()
    for name in (f"{new_id()}.data", f"{new_id()}.json", f"{new_id()}.json.tmp", "notes.txt"):
        (stock.directory / "kept-mail" / name).write_text("{")
    broken = new_id()
    for name in ("data", "json"):
        (stock.directory / "kept" / f"{broken}.{name}").write_text("[[")
    assert listed(stock, capsys) == [mail]


@pytest.mark.parametrize(
    "words", [["list"], ["list", "/no/such.yaml"], ["show", "{policy}"], ["list", "{policy}", "x"]]
)
def test_bad_usage_is_two(stock: Stock, words: list[str], capsys: pytest.CaptureFixture[str]):
    """Without a policy, with a bad one, or without anything to do, nothing is attempted."""
    assert main(["quarantine", *(word.format(policy=stock.policy) for word in words)]) == 2
    assert capsys.readouterr().err


def test_the_policy_may_be_an_option(stock: Stock, capsys: pytest.CaptureFixture[str]):
    """--policy FILE stands for the first word."""
    mail = stock.keep_mail()
    assert main(["quarantine", "show", "--policy", str(stock.policy), mail]) == 0
    assert mail in capsys.readouterr().out
