"""The five statuses and the two merges."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from policy.verdict import Merge, ScanReport, Status, merge_documents, merge_engines, merge_order

FREE, FOUND, SKIPPED, UNKNOWN, ERROR = Status.FREE, Status.FOUND, Status.SKIPPED, Status.UNKNOWN, Status.ERROR

# Row: the first engine's status, column: the second's, in the order found, free, skipped, unknown, error.
COLUMNS = (FOUND, FREE, SKIPPED, UNKNOWN, ERROR)
KERNUN = {
    FOUND: (FOUND, FOUND, FOUND, FOUND, FOUND),
    FREE: (FOUND, FREE, FREE, FREE, FREE),
    SKIPPED: (FOUND, FREE, SKIPPED, SKIPPED, SKIPPED),
    UNKNOWN: (FOUND, FREE, SKIPPED, UNKNOWN, UNKNOWN),
    ERROR: (FOUND, FREE, SKIPPED, UNKNOWN, ERROR),
}
STRICT = {
    FOUND: (FOUND, FOUND, FOUND, FOUND, FOUND),
    FREE: (FOUND, FREE, SKIPPED, UNKNOWN, ERROR),
    SKIPPED: (FOUND, SKIPPED, SKIPPED, UNKNOWN, ERROR),
    UNKNOWN: (FOUND, UNKNOWN, UNKNOWN, UNKNOWN, ERROR),
    ERROR: (FOUND, ERROR, ERROR, ERROR, ERROR),
}
TABLES = {Merge.KERNUN: KERNUN, Merge.STRICT: STRICT}
PAIRS = [
    (merge, first, second, table[first][n])
    for merge, table in TABLES.items()
    for first in table
    for n, second in enumerate(COLUMNS)
]


def report(status: Status, protocol: str = "clamav-net") -> ScanReport:
    return ScanReport(antivirus="A", protocol=protocol, status=status)


@pytest.mark.parametrize(("merge", "first", "second", "merged"), PAIRS)
def test_two_engines_merge_as_the_table_says(merge: Merge, first: Status, second: Status, merged: Status):
    """Each of the 25 pairs, in both modes, has the status that is written in the table."""
    assert merge_engines([report(first), report(second)], merge) is merged


@pytest.mark.parametrize("merge", Merge)
@pytest.mark.parametrize("three", list(product(Status, repeat=3)), ids="-".join)
def test_three_engines_merge_as_two_and_one(merge: Merge, three: tuple[Status, ...]):
    """All 125 triples, in any order, merge to what the two-engine table gives pair by pair."""
    table = TABLES[merge]
    first, second, third = three
    expected = table[table[first][COLUMNS.index(second)]][COLUMNS.index(third)]
    for order in permutations(three):
        assert merge_engines(map(report, order), merge) is expected


@pytest.mark.parametrize(("first", "second"), list(product(Status, Status)))
def test_documents_merge_by_the_strict_order(first: Status, second: Status):
    """A mail of two documents has the strict table's status, whatever its gateway's engine merge is."""
    assert merge_documents([first, second]) is STRICT[first][COLUMNS.index(second)]


@pytest.mark.parametrize("merge", Merge)
def test_no_engine_is_skipped(merge: Merge):
    """An object that no engine looked at is skipped, never free."""
    assert merge_engines([], merge) is SKIPPED
    assert merge_documents([]) is SKIPPED


@pytest.mark.parametrize("merge", Merge)
@pytest.mark.parametrize("status", Status)
def test_builtin_beside_another_engine_joins_only_as_found(merge: Merge, status: Status):
    """The built-in engine's found counts beside another engine, its other words do not."""
    merged = merge_engines([report(status), report(FREE, "builtin")], merge)
    assert merged is status
    assert merge_engines([report(status), report(FOUND, "builtin")], merge) is FOUND


@pytest.mark.parametrize("status", Status)
def test_builtin_alone_speaks_for_itself(status: Status):
    """Without another engine the built-in engine's status is the object's."""
    assert merge_engines([report(status, "builtin")]) is status


def test_merge_order_names_all_five():
    """Each order is a permutation of the five statuses with found first."""
    for merge in Merge:
        assert sorted(merge_order(merge)) == sorted(Status)
        assert merge_order(merge)[0] is FOUND
