"""avsluice stats."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avsluice.__main__ import main
from avsluice.log_lines import LONGEST, Reading, read_records
from avsluice.tally import Frequent, Tally


def line(at: str = "2026-01-02T03:04:05.678Z", **more: Any) -> str:
    known = {
        "time": at,
        "event": "object",
        "proxy": "http-proxy.HTTP",
        "client": "192.0.2.7:4711",
        "object": "http://example.org/a",
        "size": 100,
        "status": "free",
        "virus": None,
        "engines": [{"name": "AV", "status": "free", "cached": False}],
        "documents": [],
        "acl": "DOCS",
        "action": "accept",
        "reason": None,
        "released": 0,
        "quarantine": None,
        "ms": 10.0,
    }
    return json.dumps(known | more) + "\n"


FOUND = {"status": "found", "action": "deny", "reason": "virus-found", "virus": "Eicar", "ms": 30.0}


@pytest.fixture
def summed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs `stats --json` over that text, and gives its words."""

    def sum_up(text: str, *words: str, status: int = 0) -> dict[str, Any]:
        log = tmp_path / "audit.log"
        log.write_text(text)
        assert main(["stats", str(log), "--json", *words]) == status
        return json.loads(capsys.readouterr().out)

    return sum_up


def test_totals(summed):
    """Records, bytes, actions, times, remembered answers and viruses are added up."""
    mail = {"event": "mail", "proxy": "smtp-proxy.SMTP", "documents": [{"virus": "Eicar"}, {"virus": "Other"}]}
    cached = {"engines": [{"name": "AV", "status": "error", "cached": True}]}
    got = summed(line() + line(**FOUND, quarantine="x", released=7) + line(**{**FOUND, **mail, **cached}))
    assert (got["records"], got["bytes"], got["released"], got["quarantined"]) == (3, 300, 7, 1)
    assert (got["ms_mean"], got["ms_most"]) == (23.3, 30.0)
    assert (got["engine_answers"], got["engine_answers_cached"], got["engine_errors"]) == (3, 1, 1)
    assert got["by_status"] == {"found": 2, "free": 1}
    assert got["by_event"] == {"object": 2, "mail": 1}
    assert got["top_viruses"] == [{"what": "Eicar", "count": 2}, {"what": "Other", "count": 1}]
    assert got["top_clients"] == [{"what": "192.0.2.7", "count": 3}]
    assert got["top_rules"][0] == {"what": "http-proxy.HTTP DOCS", "count": 2}
    assert got["top_objects"] == [{"what": "http://example.org/a", "count": 2}]
    assert got["approximate"] == []


def test_hours(summed):
    """Each hour of the log has all its records and the refused ones, in UTC."""
    text = line() + line("2026-01-02T04:59:59+01:00", **FOUND) + line("2026-01-02T04:00:00Z")
    assert summed(text)["by_hour"] == {
        "2026-01-02T03": {"all": 2, "refused": 1},
        "2026-01-02T04": {"all": 1, "refused": 0},
    }


def test_a_period(summed):
    """What lies outside is counted as such only; the end is not part of the period."""
    text = "".join(line(f"2026-01-0{day}T00:00:00Z") for day in range(1, 6))
    got = summed(text, "--since", "2026-01-02", "--until", "2026-01-04T01:00+01:00")
    assert (got["records"], got["outside"]) == (2, 3)
    assert (got["first"], got["last"]) == ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
    assert summed(text, "--since", "24h")["records"] == 0


@pytest.mark.parametrize(
    "broken",
    [
        "ready http-proxy.HTTP 127.0.0.1:8080\n",
        '{"time": "2026-01-02T03:04:05Z", "act',
        '{"time": 7, "action": "accept"}\n',
        '{"time": "soon", "action": "accept"}\n',
        '["time", "action"]\n',
        "[" * 100_000 + "{" * 100_000 + "\n",
        '{"a": ' + "[" * 100_000 + "\n",
        '{"time": "0001-01-01T00:00:00+23:00", "action": "accept"}\n',
        "x" * (2 * LONGEST) + "\n",
    ],
)
def test_broken_lines_are_counted(summed, broken: str):
    """What is no record is one broken line, and the records around it are added up."""
    got = summed(line() + broken.rstrip("\n") + "\n" + line())
    assert (got["records"], got["broken"], got["lines"]) == (2, 1, 3)


def test_odd_fields_stop_nothing(summed):
    """Fields of other types than ours count for nothing."""
    odd: dict[str, Any] = {
        "size": "much",
        "ms": None,
        "engines": 7,
        "documents": [3],
        "client": [],
        "acl": {},
        "virus": 5,
    }
    assert summed(line(**odd) + line(size=-1, ms=1e300, engines=[1], proxy=None, status=["x"]))["records"] == 2


def test_several_logs_gzip_and_stdin(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    """A rotated log, a syslog's file and standard input are one log."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(line().encode() * 2))
    (tmp_path / "syslog").write_text("Nov 23 00:00:00 host avsluice[7]: " + line())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(line().encode()))))
    assert main(["stats", str(tmp_path / "a.gz"), str(tmp_path / "syslog"), "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 4


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys):
    """A missing log and a torn gzip are exit status 2; what could be read is added up."""
    (tmp_path / "torn.gz").write_bytes(gzip.compress(line().encode() * 1000)[:-9])
    (tmp_path / "good").write_text(line())
    assert main(["stats", str(tmp_path / "no\x1bne"), str(tmp_path / "torn.gz"), str(tmp_path / "good"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["records"] >= 1
    assert "no\\u001bne: No such file" in err
    assert "torn.gz: " in err
    assert "\x1b" not in err


def test_the_table_is_safe_for_a_terminal(tmp_path: Path, capsys):
    """For people: every section, and nothing that a peer chose reaches the terminal raw."""
    (tmp_path / "log").write_text(line(**FOUND | {"virus": "V\x1b[2J\u202e"}) + line("2026-01-02T05:00:00Z"))
    assert main(["stats", str(tmp_path / "log"), "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 records from 2026-01-02T03:04:05Z to 2026-01-02T05:00:00Z\n")
    assert "  2026-01-02T03  1  1  ########################################\n" in out
    assert "V\\u001b[2J\\u202e" in out
    assert "\x1b" not in out


def test_an_empty_log(summed):
    """Nothing adds up to nothing."""
    got = summed("")
    assert (got["records"], got["first"], got["ms_mean"]) == (0, None, None)


@pytest.mark.parametrize("words", [["--since", "yesterday"], [], ["x", "--top", "many"]])
def test_bad_usage_is_two(words: list[str], capsys):
    """As everywhere."""
    with pytest.raises(SystemExit) as end:
        main(["stats", *words])
    assert end.value.code == 2


def test_the_frequent_are_kept_of_many():
    """Of more different things than there is room for, the frequent ones survive, and that is told."""
    frequent = Frequent(room=10)
    for n in range(1000):
        frequent.add(f"rare {n}")
        frequent.add("often")
    assert frequent.top(1) == [("often", 1000)]
    assert not frequent.exact
    assert len(frequent._counts) <= 21


def test_memory_does_not_grow_with_the_log(tmp_path: Path):
    """A log of millions of clients, objects and hours costs no more than one of thousands."""
    code = (
        "import resource, sys\n"
        "from avsluice.tally import Tally\n"
        "tally = Tally()\n"
        "def feed(start, count):\n"
        "    for n in range(start, start + count):\n"
        "        tally.add({'time': '2026-01-02T03:04:05Z', 'action': 'deny', 'client': f'c{n}', 'object': f'o{n}',\n"
        "                   'virus': f'v{n}', 'acl': f'a{n}', 'proxy': f'p{n}', 'status': f's{n}'})\n"
        "feed(0, 45_000)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "feed(45_000, 60_000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 20_000  # KiB


def test_reading_is_a_stream(tmp_path: Path):
    """A record comes as soon as its line is read, before the log's end."""
    log = tmp_path / "log"
    log.write_text(line() + "broken\n" + line())
    reading = Reading()
    records = read_records(str(log), reading)
    assert next(records)["size"] == 100
    assert (reading.lines, reading.broken) == (1, 0)
    assert len(list(records)) == 1
    assert (reading.lines, reading.broken) == (3, 1)


def test_too_many_hours_are_broken_lines(monkeypatch: pytest.MonkeyPatch):
    """A log of odd times does not fill the memory with hours."""
    monkeypatch.setattr("avsluice.tally.MOST_HOURS", 2)
    tally = Tally()
    for hour in range(4):
        tally.add(json.loads(line(f"2026-01-02T0{hour}:00:00Z")))
    assert (tally.records, tally.broken) == (2, 2)
