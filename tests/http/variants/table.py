"""The table of docs/evasions.md, out of the outcomes of a campaign.

Rules of this file: text in, text out; what is not counted in the campaign is not in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from tests.http.proxy import ROOT
from tests.http.variants.campaign import Outcome

PAGE = ROOT / "docs" / "evasions.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"

# What the gateway does with a class, and why.
DEEDS = {
    "coding: spelling": "Odd spellings are decoded and leave as identity; unknown tokens are refused",
    "coding: stack": "Up to five layers are taken off, and the client gets identity",
    "coding: damage": "Refused: some clients take what they can decode",
    "coding: members": "Decoded, sent as identity: some clients read only the first member",
    "coding: hidden bytes": "Decoded, sent as identity: what no decoder shows does not leave",
    "coding: not announced": "A file like another: passed as it is, opened by the engines where they know it",
    "framing: plain": "Passed, with framing of our own",
    "framing: chunk size": "Extensions and zeros are dropped; what is no size is refused",
    "framing: last chunk": "What is cut is refused; what follows the end is dropped, with the connection",
    "framing: trailers": "Refused: mitmproxy cannot carry them over HTTP/1",
    "framing: transfer coding": "Refused but for plain chunks and identity, and always beside a length",
    "framing: length": "Refused but for one plain number",
    "head: odd bytes in a line": "Refused where some reader could see another line",
    "head: odd names": "Refused but for large and many fields, and line ends of LF, which leave as CRLF",
    "status: code": "Passed, with the reason of the standard; a 206 that nobody asked for is refused",
    "status: line": "A later minor version is said as 1.1; other versions, and what is no status line, are refused",
    "status: interim": "Interim replies end here; a 101 that is no WebSocket asked for is refused",
    "status: body where there is none": "The body is dropped, with the connection",
    "archive: guise": "Checked by what it is, whatever name and type say",
    "archive: under a coding": "The coding is undone, then the archive opened",
    "archive: surroundings": "Opened from its end, as its readers do; refused where its directory hides members",
    "range": "The whole is fetched and checked, and the piece cut from it",
    "upload: coding": "Decoded for the check; sent on as it came, or as identity where the spelling is odd",
    "upload: damaged coding": "Refused: some servers take what they can decode",
    "upload: framing": "400 and closed, or framed anew",
    "upload: trailers": "400: mitmproxy cannot carry them over HTTP/1",
    "upload: form": "Each file is checked by itself",
    "upload: odd form": "Refused where servers could divide it in two ways",
}


def render(outcomes: Iterable[Outcome]) -> str:
    """The table in Markdown."""
    return "\n".join(_rows(outcomes)) + "\n"


def _rows(outcomes: Iterable[Outcome]) -> Iterator[str]:
    yield "| class | variants | in Chromium | stock delivers | gateway delivers | with EICAR | what the gateway does |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    totals = [0, 0, 0, 0, 0]
    for kind, group in groupby(sorted(outcomes, key=lambda o: list(DEEDS).index(o.variant.kind)), _kind):
        found = list(group)
        counts = [
            len(found),
            sum(outcome.in_chromium for outcome in found),
            sum(outcome.stock_delivers for outcome in found),
            sum(outcome.delivered for outcome in found),
            sum(bool(outcome.leaks) for outcome in found),
        ]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        yield f"| {kind} | {' | '.join(map(str, counts))} | {DEEDS[kind]} |"
    yield f"| all | {' | '.join(map(str, totals))} | |"


def _kind(outcome: Outcome) -> str:
    return outcome.variant.kind


def write(outcomes: Iterable[Outcome], page: Path = PAGE) -> None:
    """Put the table where it belongs on the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + render(outcomes) + END + rest.partition(END)[2])


def read(page: Path = PAGE) -> str:
    """The table as it stands on the page."""
    return page.read_text().partition(BEGIN)[2].partition(END)[0]
