"""The clock, asked by a simulated gateway."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspection.trickle import Trickle

arrivals = st.lists(
    st.tuples(st.floats(0, 20, allow_nan=False), st.integers(0, 5000)),  # seconds since the last, bytes
    min_size=1,
    max_size=30,
)


def make(interval: float = 5.0, chunk: int = 2000, limit: int = 65536) -> Trickle:
    return Trickle(interval=interval, chunk=chunk, limit=limit)


def test_nothing_leaves_before_the_first_tick() -> None:
    """The first byte leaves one interval after the first body byte arrived, not before."""
    clock = make()
    clock.begin(100.0)
    assert clock.next_tick() == 105.0
    assert clock.release(104.999, 50_000) == 0
    assert clock.release(105.0, 50_000) == 2000


def test_ticks_stay_on_their_raster() -> None:
    """A tick that was noticed late does not move those behind it."""
    clock = make()
    clock.begin(0.0)
    assert clock.release(7.5, 50_000) == 2000
    assert clock.next_tick() == 10.0


def test_nothing_accumulates() -> None:
    """Five ticks that passed unnoticed release one chunk, not five."""
    clock = make()
    clock.begin(0.0)
    assert clock.release(26.0, 50_000) == 2000
    assert clock.release(29.9, 50_000) == 0
    assert clock.next_tick() == 30.0


def test_the_last_chunk_stays() -> None:
    """An object no longer than one chunk never leaves early."""
    clock = make()
    clock.begin(0.0)
    assert clock.release(5.0, 2000) == 0
    assert clock.release(10.0, 2001) == 1


def test_the_limit_ends_the_ticks() -> None:
    """Once the limit is used up there is nothing to wake up for."""
    clock = make(limit=3000)
    clock.begin(0.0)
    assert [clock.release(t, 100_000) for t in (5.0, 10.0, 15.0)] == [2000, 1000, 0]
    assert clock.next_tick() is None


def test_only_the_first_byte_begins() -> None:
    """t0 is the arrival of the first body byte, whatever arrives later."""
    clock = make()
    assert clock.next_tick() is None
    assert clock.begin(1.0) is True
    assert clock.begin(4.0) is False
    assert clock.next_tick() == 6.0


@given(arrivals, st.floats(0.1, 7), st.integers(1, 3000), st.integers(0, 4))
def test_what_leaves_is_bounded(pieces: list[tuple[float, int]], interval: float, chunk: int, more_chunks: int) -> None:
    """For any arrivals: at most a chunk a tick, never over the limit, never the last chunk of what is here."""
    clock = Trickle(interval=interval, chunk=chunk, limit=chunk * (1 + more_chunks))
    now, received, total = 0.0, 0, 0
    for pause, size in pieces:
        for _ in range(50):
            due = clock.next_tick()
            if due is None or due > now + pause:
                break
            released = clock.release(due, received)
            total += released
            assert 0 <= released <= chunk
            assert total == clock.released <= clock.limit
            assert total == 0 or total <= received - chunk or released == 0
            assert clock.release(due, received) == 0
        now += pause
        if size:
            received += size
            clock.begin(now)
    assert total <= max(0, received - chunk)
