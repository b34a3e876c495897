"""`avsluice stats LOG...`: what the audit log of a period adds up to.

Rules of this file: the result goes to standard output, complaints to standard error; exit 0 where all was read, 2
where something could not be (what could be is added up all the same).
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from avsluice.log_lines import Reading, read_records
from avsluice.table import align
from avsluice.tally import Tally
from inspection.record import visible
from policy.scalars import parse_duration

_BAR = 40  # characters
_MOST_ROWS = 72  # of the histogram; longer periods are shown by day
_TITLES = {
    "clients": "clients",
    "refused_clients": "clients that something was refused to",
    "objects": "objects that were refused",
    "viruses": "viruses",
    "rules": "rules that decided",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """LOG... and a period."""
    parser.add_argument("logs", nargs="+", metavar="LOG", help="an audit log, gzip or plain; - is standard input")
    when = "2026-01-31, 2026-01-31T15:00+01:00 (without a zone: UTC), or how long ago: 24h, 7d"
    parser.add_argument("--since", type=_moment, metavar="TIME", help=f"from then on: {when}")
    parser.add_argument("--until", type=_moment, metavar="TIME", help="before that time")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of each table, 10")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Prints the sums; 0 or 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name is never a reason to stop
    tally, reading, failed = Tally(arguments.since, arguments.until), Reading(), False
    for name in arguments.logs:
        try:
            for record in read_records(name, reading):
                tally.add(record)
        except (OSError, EOFError, zlib.error) as why:
            failed = True
            print(visible(f"{name}: {getattr(why, 'strerror', None) or why}"), file=sys.stderr)
    plain = sum_up(tally, reading, max(0, arguments.top))
    if arguments.json:
        print(json.dumps(plain, indent=1))
    else:
        print("\n".join(spell(plain)))
    return 2 if failed else 0


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-01-31, or 24h for a day ago") from None


def sum_up(tally: Tally, reading: Reading, top: int) -> dict[str, Any]:
    """All that is known, as plain data; bytes and milliseconds."""
    return {
        "first": _iso(tally.first),
        "last": _iso(tally.last),
        "lines": reading.lines,
        "records": tally.records,
        "outside": tally.outside,
        "broken": reading.broken + tally.broken,
        "bytes": tally.numbers["size"],
        "released": tally.numbers["released"],
        "quarantined": tally.numbers["quarantined"],
        "ms_mean": round(tally.ms / tally.records, 1) if tally.records else None,
        "ms_most": tally.slowest if tally.records else None,
        "engine_answers": tally.numbers["answers"],
        "engine_answers_cached": tally.numbers["cached"],
        "engine_errors": tally.numbers["engine_errors"],
        **{f"by_{name}": dict(counts.most_common()) for name, counts in tally.fields.items()},
        "by_hour": {
            hour: {"all": tally.hours[hour], "refused": tally.refused_hours[hour]} for hour in sorted(tally.hours)
        },
        **{f"top_{name}": [{"what": what, "count": n} for what, n in f.top(top)] for name, f in tally.frequent.items()},
        "approximate": [name for name, frequent in tally.frequent.items() if not frequent.exact],
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def spell(plain: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield f"{plain['records']} records from {plain['first'] or '-'} to {plain['last'] or '-'}"
    yield f"  outside the period {plain['outside']}, broken lines {plain['broken']}"
    yield f"  bytes {plain['bytes']}, released before the verdict {plain['released']}, kept {plain['quarantined']}"
    yield f"  ms: mean {_dash(plain['ms_mean'])}, most {_dash(plain['ms_most'])}"
    answers = f"{plain['engine_answers']}, remembered {plain['engine_answers_cached']}, errors {plain['engine_errors']}"
    yield f"  engines' answers {answers}"
    for name in ("proxy", "status", "action", "reason"):
        counted = {key: n for key, n in plain[f"by_{name}"].items() if key}
        if counted:
            yield f"\nby {name}"
            yield from _spell_rows(counted.items())
    yield from _spell_hours(plain["by_hour"])
    for name, title in _TITLES.items():
        if rows := plain[f"top_{name}"]:
            yield f"\n{title}{' (rare ones left out)' if name in plain['approximate'] else ''}"
            yield from _spell_rows((row["what"], row["count"]) for row in rows)


def _dash(value: object) -> str:
    return "-" if value is None else str(value)


def _spell_rows(rows: Iterable[tuple[str, int]]) -> Iterator[str]:
    for what, count in rows:
        yield f"  {count:>9}  {visible(what)}"


def _spell_hours(hours: dict[str, dict[str, int]]) -> Iterator[str]:
    if not hours:
        return
    length, title = (13, "hour") if len(hours) <= _MOST_ROWS else (10, "day")
    everything, refused = Counter[str](), Counter[str]()
    for hour, counts in hours.items():
        everything[hour[:length]] += counts["all"]
        refused[hour[:length]] += counts["refused"]
    most = max(everything.values())
    yield f"\nby {title} (UTC): all, refused"
    rows = [(f"  {at}", str(n), str(refused[at]), "#" * max(1, round(_BAR * n / most))) for at, n in everything.items()]
    yield from align(rows)
