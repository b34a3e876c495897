"""The audit record: its fields, its escaping, what it must never say; and the ids."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.record import MAX_TEXT, AuditRecord, DocumentEntry, is_id, new_id, visible, without_query
from policy.verdict import Coverage, ScanReport, Status

# The contract of the audit record, word for word: users' scripts read these names.
FIELDS = (
    "time event proxy session id client server user direction object content_type size sha256 status virus "
    "engines documents acl action reason released quarantine ms"
).split()

REPORT = ScanReport(
    antivirus="CLAM",
    protocol="clamav-net",
    status=Status.FOUND,
    virus="Eicar",
    detail="stream: Eicar FOUND",
    version="1.4",
    ms=12.345,
    coverage=Coverage.FULL,
)
RECORD = AuditRecord(
    time=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    proxy="http-proxy.HTTP",
    session="s1",
    id="0123456789abcdefghij",
    object="http://example.org/a.zip",
    status=Status.FOUND,
    virus="Eicar",
    engines=(REPORT,),
    action="deny",
    reason="virus-found",
    ms=1.2345,
)


def written(**changes: object) -> dict[str, object]:
    return dict(json.loads(replace(RECORD, **changes).to_json()))


def test_fields_are_the_contract():
    """The record has exactly the published fields, in their order, unknown ones as null."""
    assert list(written()) == FIELDS
    assert written()["client"] is None


def test_values():
    """Time is RFC 3339 in UTC with milliseconds, statuses are words, times are rounded."""
    record = written(time=datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1))))
    assert record["time"] == "2026-01-02T03:04:05.000Z"
    assert record["status"] == "found"
    assert record["ms"] == 1.2


def test_engines_have_their_published_fields():
    """An engine's entry names it, and never repeats its words, which could hold a path or content."""
    assert written()["engines"] == [
        {
            "name": "CLAM",
            "protocol": "clamav-net",
            "version": "1.4",
            "status": "found",
            "virus": "Eicar",
            "ms": 12.3,
            "cached": False,
            "coverage": "full",
        }
    ]


def test_documents_have_their_published_fields():
    """A mail's documents are listed with part, name, type, size, status, virus and action."""
    entry = DocumentEntry(part="1.2", filename="a\u202egpj.exe", size=5, status=Status.FREE, action="accept")
    line = replace(RECORD, event="mail", documents=(entry,)).to_json()
    assert list(json.loads(line)["documents"][0]) == "part filename content_type size status virus action".split()
    assert "\\u202e" in line


@given(text=st.text(max_size=40))
def test_one_line_of_ascii(text):
    """Whatever a peer chose, the record is one line of printable ASCII that reads back to it."""
    line = replace(RECORD, user=text, virus=text).to_json()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["user"] == text


@pytest.mark.parametrize("char", [*"\x00\x07\n\r\x1b\x7f\x85\x9f", *"\u061c\u200e\u200f\u2028\u2029\u202e\u2069"])
def test_dangerous_characters_are_escaped(char):
    """Control, C1, bidi and line separators stand as \\uXXXX or a short escape, never as themselves."""
    line = replace(RECORD, virus=f"a{char}b").to_json()
    assert char not in line
    assert "a\\" in line


def test_lone_surrogates_do_not_break_readers():
    """Bytes of a file name that are no UTF-8 become text that a strict JSON reader accepts."""
    line = replace(RECORD, object="/a\udcffb").to_json()
    assert json.loads(line)["object"] == "/a\\udcffb"
    json.loads(line)["object"].encode("utf-8")


def test_long_texts_are_cut():
    """A path of 10 kB is one record with a cut object."""
    record = written(object="http://example.org/" + "a" * 10_000)
    assert len(str(record["object"])) == MAX_TEXT + 3
    assert str(record["object"]).endswith("...")


def test_the_query_never_reaches_the_record():
    """Tokens in a query, fragment or userinfo are not written, even if the gateway hands them on."""
    line = replace(RECORD, object="https://joe:secret@example.org/a?token=secret#secret").to_json()
    assert "secret" not in line
    assert json.loads(line)["object"] == "https://example.org/a"


def test_a_path_may_hold_a_question_mark():
    """An FTP path or a Message-ID is no URL and stays whole."""
    assert written(object="/pub/what?#.txt")["object"] == "/pub/what?#.txt"
    assert written(object="<a?b@example.org>")["object"] == "<a?b@example.org>"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/p?q", "http://h/p"),
        ("http://h/p#f", "http://h/p"),
        ("http://h?q", "http://h"),
        ("HTTP://u:p@h:80/p@q?x", "HTTP://h:80/p@q"),
        ("http://u:p@[::1]:80/p", "http://[::1]:80/p"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://h:/p", "http://h:/p"),
        ("//u@h/p", "//h/p"),
        ("/p?q", "/p"),
        ("h:443", "h:443"),
        ("http://u:pa?ss@h/", "http://u"),
        ("http://u:pa#ss@h/", "http://u"),
        ("http://u:a@b@h/", "http://h/"),
        ("http://u:p@h\\x", "http://h\\x"),
        ("", ""),
    ],
)
def test_without_query(url, expected):
    """Query, fragment and userinfo go, host, port and path stay, whatever the spelling."""
    assert without_query(url) == expected


@given(url=st.text(max_size=60))
def test_without_query_takes_any_text(url):
    """No text raises, and no question mark or hash survives."""
    assert not set("?#") & set(without_query(url))


def test_visible():
    """Text for people shows what would not be seen, and is cut."""
    assert visible("a\r\n\u202eb\x9bé\ud800") == "a\\u000d\\u000a\\u202eb\\u009bé\\ud800"
    assert visible("x" * 20, 10) == "x" * 10 + "..."


def test_ids_sort_by_time_and_differ():
    """Ids are 20 characters of [0-9a-z], sort by time, and differ within one instant."""
    instant = 1_767_000_000_000_000_000
    earlier, later = new_id(lambda: instant), new_id(lambda: instant + 1000)
    assert earlier < later < new_id()
    assert len({new_id(lambda: instant) for _ in range(1000)}) == 1000
    assert all(len(i) == 20 and is_id(i) for i in (earlier, later, new_id(lambda: 0)))


@pytest.mark.parametrize(
    "text", ["", "a" * 15, "a" * 21, "../../../../etc/passwd", "A" * 20, "a" * 20 + "\n", "ä" * 20]
)
def test_other_texts_are_no_ids(text):
    """Only what could be an id of ours is taken as a file name."""
    assert not is_id(text)
