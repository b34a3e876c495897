"""What clamd's words mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.verdict import Status
from scanners.clamd.replies import (
    DESCRIPTOR,
    REPLY_LIMIT,
    STREAM,
    TIMED_OUT,
    Exchange,
    judge,
)

ROWS = [
    (b"stream: OK\0", Status.FREE),
    (b"stream: Eicar-Test FOUND\0", Status.FOUND),
    (b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", Status.SKIPPED),
    (b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0", Status.SKIPPED),
    (b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0", Status.SKIPPED),
    (b"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\0", Status.SKIPPED),
    (b"stream: Heuristics.Limits.Exceeded FOUND\0", Status.SKIPPED),
    (b"stream: Heuristics.Encrypted.Zip FOUND\0", Status.SKIPPED),
    (b"INSTREAM size limit exceeded. ERROR\0", Status.SKIPPED),
    (b"stream: Excluded\0", Status.SKIPPED),
    (b"stream: Excluded (another filesystem)\0", Status.SKIPPED),
    (b"stream: Can't write to file ERROR\0", Status.ERROR),
    (b"Error writing to temporary file ERROR\0", Status.ERROR),
    (b"No file descriptor received. ERROR\0", Status.ERROR),
    (TIMED_OUT, Status.ERROR),
    (b"COMMAND READ TIMED OUT\0", Status.ERROR),
    (b"", Status.ERROR),
    (b"stream: OK", Status.ERROR),
    (b"stream: Eicar-Test FOUND", Status.ERROR),
    (b"stream: O", Status.ERROR),
    (b"UNKNOWN COMMAND\0", Status.UNKNOWN),
    (b"COMMAND UNAVAILABLE\0", Status.UNKNOWN),
    (b"PONG\0", Status.UNKNOWN),
    (b"\0", Status.UNKNOWN),
    (b"OK\0", Status.UNKNOWN),
    (b": OK\0", Status.UNKNOWN),
    (b"stream:OK\0", Status.UNKNOWN),
    (b"stream: ok\0", Status.UNKNOWN),
    (b"fd[12]: OK\0", Status.UNKNOWN),  # not what we asked about
    (b"stream: OK\n\0", Status.UNKNOWN),
    # several replies: the worst wins, and two times OK is not the documented form
    (b"stream: OK\0stream: OK\0", Status.UNKNOWN),
    (b"stream: OK\0stream: Eicar FOUND\0", Status.FOUND),
    (b"stream: Eicar FOUND\0stream: OK\0", Status.FOUND),
    (b"stream: Not supported file type ERROR\0stream: OK\0", Status.ERROR),
    (b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0stream: Eicar FOUND\0", Status.FOUND),
    (b"stream: OK\0" + TIMED_OUT, Status.ERROR),
    # names that look like something else
    (b"stream: x: OK FOUND\0", Status.FOUND),
    (b"stream: x ERROR FOUND\0", Status.FOUND),
    (b"stream: a FOUND b FOUND\0", Status.FOUND),
    (b"stream:  FOUND\0", Status.FOUND),
    (b"stream: \xff\xfe FOUND\0", Status.FOUND),
]


@pytest.mark.parametrize(("reply", "status"), ROWS)
def test_every_form_of_reply_has_its_status(reply: bytes, status: Status) -> None:
    """Each row of what clamd may say ends in one status."""
    assert judge(Exchange(reply), STREAM).status is status


@pytest.mark.parametrize("number", [b"0", b"11", b"1048576"])
def test_a_descriptor_reply_may_have_any_number(number: bytes) -> None:
    """The number is clamd's own descriptor and says nothing."""
    assert judge(Exchange(b"fd[%s]: OK\0" % number), DESCRIPTOR).status is Status.FREE


def test_newline_mode_ends_lines_with_newlines() -> None:
    """With `n` commands the terminator is a newline, and NUL is none."""
    assert judge(Exchange(b"stream: OK\n"), STREAM, b"\n").status is Status.FREE
    assert judge(Exchange(b"stream: OK\0"), STREAM, b"\n").status is Status.ERROR


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (b"stream: Eicar-Test.UNOFFICIAL FOUND\0", "Eicar-Test.UNOFFICIAL"),
        (b"stream: a FOUND: OK FOUND\0", "a FOUND: OK"),
        (b"stream:  FOUND\0", "unnamed"),
        (b"stream: \x1b[31m\r\nX FOUND\0", r"\x1b[31m\r\nX"),
        (b"stream: \xff FOUND\0", r"\xff"),
        ("stream: \u202ename\u2028 FOUND\0".encode(), r"\u202ename\u2028"),
        (b"/elsewhere: X FOUND\0", "/elsewhere: X"),
    ],
)
def test_the_name_is_what_stands_before_found(reply: bytes, name: str) -> None:
    """Names are read from the right and cannot carry control or bidi characters."""
    assert judge(Exchange(reply), STREAM).virus == name


def test_a_name_is_bounded() -> None:
    """A name of 60,000 characters is found and cut for records."""
    virus = judge(Exchange(b"stream: " + b"x" * 60_000 + b" FOUND\0"), STREAM).virus
    assert virus is not None
    assert len(virus) == 255


def test_a_reply_without_end_is_an_error_but_what_was_found_stays() -> None:
    """More than the limit is an error, unless a complete reply before said found."""
    endless = b"x" * (REPLY_LIMIT + 10)
    assert judge(Exchange(endless), STREAM).status is Status.ERROR
    assert judge(Exchange(b"stream: OK\0" + endless), STREAM).status is Status.ERROR
    assert judge(Exchange(b"stream: Eicar FOUND\0" + endless), STREAM).status is Status.FOUND


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (Exchange(b"stream: OK\0", delivered=False), Status.ERROR),
        (Exchange(b"stream: OK\0", ended=False), Status.ERROR),
        (Exchange(b"stream: Eicar FOUND\0", delivered=False, ended=False), Status.FOUND),
        (Exchange(b"INSTREAM size limit exceeded. ERROR\0", delivered=False, ended=False), Status.SKIPPED),
    ],
)
def test_only_free_needs_a_whole_exchange(said: Exchange, status: Status) -> None:
    """OK counts after everything was taken and the connection closed in order; bad news counts always."""
    assert judge(said, STREAM).status is status


FRAGMENTS = [b"stream: OK\0", b"stream", b": ", b"OK", b"\0", b" FOUND", b" ERROR", b"Excluded", b"\n", b"x"]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=5), max_size=8), st.booleans(), st.booleans())
def test_only_the_one_form_is_ever_free(parts: list[bytes], delivered: bool, ended: bool) -> None:
    """Whatever bytes come, free is one complete OK about our subject in a whole exchange."""
    said = Exchange(b"".join(parts), delivered=delivered, ended=ended)
    free = judge(said, STREAM).status is Status.FREE
    assert free == (said.reply == b"stream: OK\0" and delivered and ended)


def test_a_subject_must_match_whole() -> None:
    """A subject that only begins like ours is another one."""
    assert judge(Exchange(b"stream: x: OK\0"), re.compile(rb"stream")).status is Status.UNKNOWN
