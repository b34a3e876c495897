"""Every variant through the gateway: with EICAR nobody gets it, with a harmless payload everybody gets that."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.http.proxy import Proxy
from tests.http.variants import table
from tests.http.variants.campaign import Outcome, leaks
from tests.http.variants.catalogue import catalogue

KINDS = sorted({variant.kind for variant in catalogue()})

# Valid, delivered by stock mitmdump, and delivered otherwise by us: which, and why.
OTHERWISE = {
    **{
        f"coding: spelling / {coder}: {spelling}": "Chromium does not decode at all then; from us it gets identity"
        for coder in ("gzip", "zlib", "br", "zstd")
        for spelling in ("empty item before", "empty item behind", "empty items", "field empty before")
    },
    "coding: spelling / gzip: x-": "httpx does not know x-gzip; it gets identity from us, and packed bytes from stock",
    "coding: members / two gzip members": "httpx reads the first member; from us it gets both",
    "coding: members / empty gzip member first": "httpx reads the first member; from us it gets both",
    "coding: members / gzip harmless first": "httpx reads the first member; from us it gets both",
    **{
        f"range / {wish} wanted, whole given": "a piece is cut from a whole that the origin gave"
        for wish in ("first half", "second half", "suffix", "all", "beyond", "if the same")
    },
}
# Valid, and refused by us.
REFUSED = {
    "framing: trailers / trailer, identity": "mitmproxy crashes at trailers over HTTP/1; we refuse them",
    "framing: trailers / trailer, br": "as above",
    "framing: trailers / trailers, identity": "as above",
    "framing: trailers / trailers, br": "as above",
    **{
        f"{where}forty leading zeros{content}": "mitmproxy's reader of chunks takes 20 digits at the most"
        for where, content in (
            ("framing: chunk size / ", ", identity"),
            ("framing: chunk size / ", ", br"),
            ("upload: framing / chunk size: ", ""),
        )
    },
    "upload: trailers / end: trailer": "as above",
    "upload: trailers / end: trailers": "as above",
}

pytestmark = pytest.mark.timeout(240)


def test_there_are_enough_of_them() -> None:
    """The rules still make what they made; no two variants share a name."""
    names = Counter((variant.kind, variant.name) for variant in catalogue())
    assert len(names) >= 1000
    assert max(names.values()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_eicar_reaches_nobody(outcomes: list[Outcome], kind: str) -> None:
    """No client, and no reader that tries everything on the bytes that came, gets EICAR out of any variant."""
    assert leaks(outcome for outcome in outcomes if outcome.variant.kind == kind) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_valid_and_harmless_arrives_as_from_stock(outcomes: list[Outcome], kind: str) -> None:
    """Wherever stock mitmdump delivers a valid message, we do, and the same; what is otherwise has its reason."""
    valid = [o for o in outcomes if o.variant.kind == kind and o.variant.valid and o.stock_delivers]
    assert [(o.name, o.how) for o in valid if o.differs and o.name not in OTHERWISE] == []


@pytest.mark.chromium
def test_every_reason_is_needed(outcomes: list[Outcome]) -> None:
    """A variant that is no longer treated otherwise loses its place in the list."""
    assert {o.name for o in outcomes if o.differs and o.variant.valid and o.stock_delivers} == set(OTHERWISE)


def test_what_is_valid_and_refused_is_listed(outcomes: list[Outcome]) -> None:
    """Nothing that the standards allow is refused but what the list says."""
    assert {o.name for o in outcomes if o.variant.valid and not o.delivered} == set(REFUSED)


def test_a_piece_is_the_piece_that_was_asked_for(outcomes: list[Outcome]) -> None:
    """Where we cut a piece from what the origin gave as a whole, it is that one."""
    got = {o.variant.name: (o.ours.status, o.ours.body) for o in outcomes if o.variant.kind == "range"}
    whole = next(o.stock.body for o in outcomes if o.variant.name == "nothing wanted, whole given")
    assert got["first half wanted, whole given"] == (206, whole[:34])
    assert got["second half wanted, whole given"] == (206, whole[34:])
    assert got["suffix wanted, whole given"] == (206, whole[-20:])
    assert got["beyond wanted, whole given"] == (416, b"")


def test_nobody_waits_and_nothing_crashes(outcomes: list[Outcome], checking: Proxy) -> None:
    """A client that has said all has its answer at once; the log knows of no crash."""
    unfinished = ("upload: framing / end", "upload: framing / length", "upload: framing / chunk size")
    waiting = [o.name for o in outcomes if o.seconds > 1.4 and not o.name.startswith(unfinished)]
    assert waiting in ([], ["upload: trailers / end: trailer cut"])
    assert checking.crashes() == []


@pytest.mark.chromium
def test_a_browser_was_shown_all_that_it_can_ask_for(outcomes: list[Outcome]) -> None:
    """Every variant that a plain GET brings went through Chromium, and its harmless ones arrived."""
    shown = [o for o in outcomes if o.in_chromium]
    assert len(shown) >= 800
    assert {o.name for o in shown} == {o.name for o in outcomes if o.variant.plain_get}


@pytest.mark.chromium
def test_the_table_says_what_happened(outcomes: list[Outcome]) -> None:
    """docs/evasions.md is what the last campaign found."""
    assert table.read() == table.render(outcomes), "EVASIONS=write .venv/bin/pytest tests/http/variants"
