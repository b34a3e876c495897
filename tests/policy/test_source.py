"""Reading YAML with places and bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from policy.source import MAX_BYTES, PolicyError, Source, read_source


def read(tmp_path: Path, text: str | bytes) -> Source:
    path = tmp_path / "p.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(path)


def complaint(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_plain_data_comes_out(tmp_path: Path):
    """Mappings, lists and YAML 1.2 scalars are understood; keys are always text."""
    source = read(tmp_path, "a: [1, 2.5, true, null, off, '5']\n1: {b: x}\n")
    assert source.data == {"a": [1, 2.5, True, None, "off", "5"], "1": {"b": "x"}}
    assert source.problems == ()


def test_aliases_are_followed(tmp_path: Path):
    """An anchor may be used again."""
    assert read(tmp_path, "a: &x {k: 1}\nb: *x\n").data == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("loc", "place"),
    [
        (("a",), "2:1: a"),
        (("a", "b"), "2:5: a.b"),
        (("a", "missing"), "2:1: a.missing"),
        (("a", "missing", "deeper"), "2:1: a.missing.deeper"),
        (("l", 1), "4:5: l[1]"),
        (("l", 0, "x"), "3:19: l.FIRST.x"),
        (("a", "b", 0), "2:8: a.b"),
        (("a", "[key]"), "2:1: a"),
        (("u", "tag", "v"), "5:22: u.v"),
        ((), "2:1: policy"),
    ],
)
def test_problems_find_their_place(tmp_path: Path, loc: tuple[int | str, ...], place: str):
    """A problem stands at the key it is about, or at the deepest place that there is."""
    source = read(tmp_path, "# c\na: {b: 1}\nl: [{name: FIRST, x: 2},\n    y]\nu: {protocol: 'tag', v: 1}\n")
    assert str(source.problem(loc, "t")) == f"{tmp_path}/p.yaml:{place}: t"


def test_duplicates_are_collected(tmp_path: Path):
    """Every duplicate key is reported, and reading goes on."""
    source = read(tmp_path, "a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [str(p).partition(".yaml:")[2] for p in source.problems] == [
        "2:1: a: stands twice in this mapping, first in line 1; keep one",
        "3:11: b.c: stands twice in this mapping, first in line 3; keep one",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the file is empty"),
        (b"a: \xff", "is not UTF-8 (byte 0xff)"),
        (b"a: \0", "holds a '\\x00' character"),
        ("a: '\u2028'", "holds a '\\u2028' character"),
        (b"\tb: 1", "a tab stands here"),
        (b"a: [1", "expected"),
        (b"a: \x07", "is no YAML"),
        (b"a: b: c", "mapping values are not allowed here"),
        (b"--- a\n--- b\n", "a second document begins here"),
        (b"x" * (MAX_BYTES + 1), "is larger than 256 KiB"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path: Path, text: str | bytes, words: str):
    """Bytes, characters and syntax that are no policy are refused with their line."""
    assert words in complaint(tmp_path, text)


def test_an_utf_8_signature_is_no_error(tmp_path: Path):
    """Files saved with a byte order mark are read."""
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_missing_and_special_files(tmp_path: Path):
    """A file that is not there, a directory and a pipe are refused without waiting."""
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("nowhere", "does not exist"), (".", "is no regular file"), ("pipe", "is no regular file")):
        with pytest.raises(PolicyError, match=words):
            read_source(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!'\"#|>%@,? \n\t~<0.", max_size=60))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str):
    """Whatever stands in the file, it is read or refused; where both read it, ruamel agrees on its shape."""
    path = tmp_path_factory.mktemp("y", numbered=True) / "p.yaml"
    path.write_text(text)
    try:
        source = read_source(path)
    except PolicyError:
        return
    if isinstance(source.data, dict | list) and not source.problems:
        assert len(source.data) == len(YAML(typ="safe", pure=True).load(text))
