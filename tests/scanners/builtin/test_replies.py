"""What the worker process may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.verdict import Status
from scanners.builtin.replies import LIMIT, decode, encode
from scanners.engine import Answer


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Status.FREE),
        Answer(Status.FOUND, virus="A"),
        Answer(Status.SKIPPED, detail="much"),
        Answer(Status.UNKNOWN, detail="a\nb\u2028ü"),
        Answer(Status.ERROR, detail="x"),
    ],
)
def test_every_answer_comes_back_from_one_line(answer: Answer) -> None:
    """All five statuses pass unchanged, line breaks in the text or not."""
    line = encode(answer)
    assert line.index(b"\n") == len(line) - 1
    assert decode(line) == answer


@given(st.text(max_size=3000), st.text(min_size=1, max_size=3000))
def test_a_line_is_bounded(detail: str, virus: str) -> None:
    """However long the texts, the line is no longer than a reader takes, and is understood."""
    line = encode(Answer(Status.FOUND, virus=virus, detail=detail))
    assert len(line) <= LIMIT
    said = decode(line)
    assert said is not None
    assert said.virus == virus[:500]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"free\n", b"null", b"[]", b"{}", b"\xff", b"[" * 5000,
        b'{"status":"free"}', b'{"status":"clean","virus":null,"detail":""}',
        b'{"status":"free","virus":null,"detail":"","more":1}', b'{"status":"free","virus":null,"detail":7}',
        b'{"status":"free","virus":"X","detail":""}', b'{"status":"free","virus":"","detail":""}',
        b'{"status":"found","virus":null,"detail":""}', b'{"status":"found","virus":"","detail":""}',
        b'{"status":["free"],"virus":null,"detail":""}', b'{"status":7,"virus":null,"detail":""}',
    ],
)  # fmt: skip
def test_what_is_no_reply_is_none(line: bytes) -> None:
    """Only the exact form counts; `free` above all."""
    assert decode(line) is None


@given(st.binary(max_size=200))
def test_garbage_is_never_an_answer(line: bytes) -> None:
    """Random bytes neither raise nor say anything."""
    assert decode(line) is None
