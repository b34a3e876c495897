"""When an endpoint that fails is left alone, and for how long."""

from __future__ import annotations

from scanners.breaker import LONGEST, SHORTEST, THRESHOLD, Breaker


def test_three_failures_in_a_row_open_it() -> None:
    """Two failures leave it closed, the third opens it until `retry_at`."""
    breaker = Breaker(lambda: 1.0)
    seen = []
    for _ in range(THRESHOLD):
        seen.append(breaker.is_open(100))
        breaker.fail(100)
    assert seen == [False, False, False]
    assert breaker.is_open(100)
    assert not breaker.is_open(breaker.retry_at)
    assert breaker.tripped


def test_one_success_closes_it() -> None:
    """After a success it takes three failures again."""
    breaker = Breaker(lambda: 1.0)
    for _ in range(5):
        breaker.fail(0)
    breaker.succeed()
    breaker.fail(0)
    assert not breaker.is_open(0)
    assert breaker.retry_at == 1


def test_pauses_double_from_one_second_to_thirty() -> None:
    """1, 2, 4, 8, 16, 30, 30 seconds."""
    breaker = Breaker(lambda: 1.0)
    pauses = []
    for _ in range(7):
        breaker.fail(0)
        pauses.append(breaker.retry_at)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_pauses_are_spread_within_their_bounds() -> None:
    """A hundred gateways do not come back at the same moment, and none before a second or after thirty."""
    pauses = set()
    for _ in range(100):
        breaker = Breaker()
        for _ in range(20):
            breaker.fail(0)
            assert SHORTEST <= breaker.retry_at <= LONGEST
        breaker.succeed()
        for _ in range(4):
            breaker.fail(0)
        pauses.add(breaker.retry_at)
    assert len(pauses) > 50


def test_repr_tells_the_state() -> None:
    """In a debugger one sees whether it is open."""
    breaker = Breaker()
    assert repr(breaker) == "<Breaker closed, 0 failures>"
