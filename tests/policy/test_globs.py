"""Globs."""

from __future__ import annotations

import time

import pytest

from policy.globs import compile_globs, is_glob


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*.example.com", "WWW.Example.COM", True),
        ("*.example.com", "example.com", False),
        ("text/*", "text/html", True),
        ("a?c", "abc", True),
        ("a[bc]d", "acd", True),
        ("Straße", "STRASSE", True),
        ("a.c", "abc", False),
        ("*", "", True),
        ("*", "two\nlines", True),
    ],
)
def test_glob_matches_the_whole_text_in_any_case(pattern: str, text: str, fits: bool):
    """A glob is anchored at both ends, case does not count, and a dot is a dot."""
    assert compile_globs([pattern])(text) is fits


def test_any_of_a_list_will_do():
    """Plain words and wildcards stand together in one list."""
    match = compile_globs(["exe", "com", "doc*"])
    assert [match(text) for text in ("EXE", "docm", "com", "txt")] == [True, True, True, False]


def test_many_stars_do_not_explode():
    """A hostile text against many stars takes no noticeable time."""
    match = compile_globs(["*a" * 30 + "b"])
    begin = time.perf_counter()
    assert not match("a" * 5000)
    assert time.perf_counter() - begin < 1


def test_wildcards_are_told_from_words():
    """Only *, ? and [ make a glob."""
    assert is_glob("a*")
    assert not is_glob("a.b")
