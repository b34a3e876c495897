"""Blocks of header lines."""

from __future__ import annotations

import pytest

from policy.verdict import Status
from scanners.icap.headers import LINES_LIMIT, BadReply, Headers, parse_lines, split_block


def test_a_block() -> None:
    """A start line, names in lower case, values without their spaces."""
    line, headers = split_block(b"ICAP/1.0 200 OK\r\nA: b\r\nX-Y:c \r\n\r\n")
    assert line == b"ICAP/1.0 200 OK"
    assert headers == Headers((("a", b"b"), ("x-y", b"c")))


def test_folded_lines() -> None:
    """c-icap's X-Violations-Found has its details on lines of their own."""
    headers = parse_lines([b"X-Violations-Found: 1", b"\t-", b"\tEicar", b" 0", b"Other: x"])
    assert headers.all("x-violations-found") == [b"1 - Eicar 0"]
    assert headers.all("other") == [b"x"]


def test_an_empty_value_may_be_folded() -> None:
    """The value may begin on the next line."""
    assert parse_lines([b"A:", b" b"]).all("a") == [b"b"]


@pytest.mark.parametrize(
    "line", [b"", b"no colon", b": x", b"a b: x", b"a : x", b"\xff: x", b"a: \0", b"a: \r", b"a: \n", b"a" * 300 + b":"]
)
def test_what_is_no_header_is_an_error(line: bytes) -> None:
    """Broken syntax is never repaired."""
    with pytest.raises(BadReply) as caught:
        parse_lines([b"First: 1", line])
    assert caught.value.status is Status.ERROR


def test_the_first_line_cannot_be_folded() -> None:
    """There is nothing that it could belong to."""
    with pytest.raises(BadReply):
        parse_lines([b" x"])


def test_lines_are_bounded() -> None:
    """Folded lines count."""
    parse_lines([b"a: b"] * LINES_LIMIT)
    with pytest.raises(BadReply, match="more than 256"):
        parse_lines([b"a: b"] + [b" c"] * LINES_LIMIT)


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ([b"12"], 12),
        ([b"1", b"1"], None),
        ([b""], None),
        ([b"+1"], None),
        ([b"1" * 11], None),
        ([b"1x"], None),
        ([], None),
    ],
)
def test_numbers(values: list[bytes], number: int | None) -> None:
    """One value, digits only, ten at most."""
    assert Headers(tuple(("n", value) for value in values)).number("n") == number


def test_tokens() -> None:
    """Lists may be in one header or several."""
    assert Headers((("a", b"B, c ,"), ("a", b"d"))).tokens("a") == ["b", "c", "d"]
