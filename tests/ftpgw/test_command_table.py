"""The table of commands."""

import pytest

from ftpgw.command_table import Rule, filter_features, judge_line
from ftpgw.wire import Command, Reply


@pytest.mark.parametrize(
    "line", ["COMB a b", "SITE CPFR a", "SITE CPTO b", "SITE SYMLINK a b", "SITE EXEC x", "LPSV", "XYZ"]
)
def test_what_is_not_in_the_table(line: str) -> None:
    """It is 502, above all what assembles files on the server's side."""
    verb, _, argument = line.partition(" ")
    judged = judge_line(Command(verb, argument), logged_in=True)
    assert isinstance(judged, Reply)
    assert judged.code == 502


@pytest.mark.parametrize("verb", ["RETR", "CWD", "LIST", "PASV", "REST", "SITE"])
def test_what_takes_a_login(verb: str) -> None:
    """Before it: 530."""
    judged = judge_line(Command(verb, "CHMOD 644 x"), logged_in=False)
    assert isinstance(judged, Reply)
    assert judged.code == 530


@pytest.mark.parametrize("argument", ["a\rb", "a\0b"])
def test_unclean_lines(argument: str) -> None:
    """501, whatever the command."""
    judged = judge_line(Command("RETR", argument), logged_in=True)
    assert isinstance(judged, Reply)
    assert judged.code == 501


def test_what_lacks_its_argument() -> None:
    """501."""
    judged = judge_line(Command("RETR"), logged_in=True)
    assert isinstance(judged, Reply)
    assert judged.code == 501


def test_what_passes() -> None:
    """A command of the table, complete and in its place, has a rule."""
    assert isinstance(judge_line(Command("SITE", "CHMOD 644 x"), logged_in=True), Rule)


def test_features_are_filtered() -> None:
    """What we do not stand for is not told; what is ours is, whatever the server offers."""
    offered = Reply(("211-F", " SIZE", " MODE Z", " SITE COPY", " SSCN", " MLST type*;size*;", " AUTH TLS", "211 End"))
    assert filter_features(offered) == ["EPRT", "EPSV", "MLST type*;size*;", "SIZE"]


def test_a_server_without_features() -> None:
    """Only ours."""
    assert filter_features(Reply(("502 no",))) == ["EPRT", "EPSV"]
