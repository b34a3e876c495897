"""Where a trickle stops, and what goes on beside it."""

from __future__ import annotations

import time

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Break, Framing, Reply, Wait, drip
from tests.http import samples
from tests.http.curl import CUT, curl
from tests.http.policies import CHUNK, INTERVAL, LIMIT, TRICKLE, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine
from tests.http.test_trickle import assert_by_the_clock, trickling
from tests.http.ways import WAYS, Gateway, Traveller
from tests.http.wire import ask, connect, take
from tests.http.wire_h2 import H2Client

SOME_WAYS = [way for way in WAYS if way.name in ("h1-length", "h1-close", "tls-chunked", "h2-length")]
some_ways = pytest.mark.parametrize("traveller", SOME_WAYS, ids=lambda way: way.name, indirect=True)


@pytest.fixture
def proxy(gateway: Gateway, engine: SlowEngine) -> Proxy:
    """A gateway that trickles while the slow engine thinks."""
    return gateway(trickling(engine))


@some_ways
def test_never_more_than_the_limit_leaves(traveller: Traveller, proxy: Proxy, engine: SlowEngine) -> None:
    """After `limit` bytes nothing further leaves; the connection stays open until the verdict."""
    engine.delay = LIMIT / CHUNK * INTERVAL + 1.0
    data = samples.infected(f"limit {traveller.way.name}", 100_000)
    url = traveller.serve("/limit", data)
    began = time.monotonic()
    taken = traveller.fetch(proxy, url)
    assert time.monotonic() - began >= engine.delay
    assert taken.ended != "whole"
    assert len(taken.body) == LIMIT
    assert_by_the_clock(taken, traveller.sent_at(url), began + engine.delay)
    assert proxy.record_of(url)["released"] == LIMIT


@some_ways
def test_an_object_of_one_chunk_never_leaves_early(traveller: Traveller, proxy: Proxy, engine: SlowEngine) -> None:
    """However long the engine thinks about it, an object no longer than a chunk is refused properly."""
    engine.delay = 3 * INTERVAL
    url = traveller.serve("/chunk", samples.infected(f"chunk {traveller.way.name}", CHUNK))
    taken = traveller.fetch(proxy, url)
    assert (taken.status, taken.ended, taken.headers["x-sluice-status"]) == (403, "whole", "found")
    assert proxy.record_of(url)["released"] == 0


@some_ways
def test_a_stalled_origin_is_trickled_all_the_same(traveller: Traveller, proxy: Proxy) -> None:
    """Ticks fall by time, not by arrival: while the origin pauses, what is there leaves chunk by chunk."""
    data = samples.clean(f"stalled {traveller.way.name}", 3 * CHUNK)
    url = traveller.serve("/pause", data, Wait(5 * INTERVAL), b"end")
    taken = traveller.fetch(proxy, url)
    assert bytes(taken.body) == data + b"end"
    sent = traveller.sent_at(url)
    assert taken.early(sent[1][0]) == 2 * CHUNK
    assert_by_the_clock(taken, sent, sent[-1][0])


def test_without_an_interval_nothing_leaves_before_the_verdict(
    gateway: Gateway, origin: Origin, engine: SlowEngine
) -> None:
    """An ACL without a trickle holds everything back, headers too."""
    proxy = gateway(checked(clamav(engine.port)))
    engine.delay = 1.0
    data = samples.clean("held", SIZE := 50_000)
    url = origin.serve("/held", Reply(steps=(data,)))
    with connect(proxy) as sock:
        taken = take(sock, ask(url, absolute=True))
    verdict_at = origin.asked("/held")[-1].first_byte_at + engine.delay
    assert (taken.ended, len(taken.body), bytes(taken.body) == data) == ("whole", SIZE, True)
    assert taken.head_at >= verdict_at


def test_a_body_with_a_quick_verdict_waits_for_no_tick(proxy: Proxy, origin: Origin) -> None:
    """The rest goes at full speed on a passing verdict: a clean body is through before the first tick's time."""
    data = samples.clean("quick", 500_000)
    url = origin.serve("/quick", Reply(steps=(data,)))
    with connect(proxy) as sock:
        taken = take(sock, ask(url, absolute=True))
    assert bytes(taken.body) == data
    assert proxy.record_of(url)["released"] == 0


def test_a_large_body_with_a_late_signature(proxy: Proxy, origin: Origin, engine: SlowEngine) -> None:
    """1 MB with EICAR at the end and a check of 2.4 intervals: two chunks, and a failed transfer."""
    engine.delay = 2.4 * INTERVAL
    url = origin.serve("/late", Reply(steps=(samples.infected("late", 1_000_000),)))
    got = curl(proxy, url)
    assert got.exit in CUT
    # The body itself takes some time to arrive, which is a tick more where the machine is busy.
    assert len(got.body) % CHUNK == 0
    assert len(got.body) == proxy.record_of(url)["released"] <= 4 * CHUNK


def test_keep_alive_goes_on_after_every_kind_of_answer(proxy: Proxy, origin: Origin, engine: SlowEngine) -> None:
    """On one connection: a trickled clean body, a 403, a small clean body, a 403, a chunked clean body."""
    clean = samples.clean("keep-alive", 9000)
    slow = origin.serve("/keep/slow", Reply(steps=drip(clean, 3, INTERVAL)))
    bad = origin.serve("/keep/bad", Reply(steps=(samples.EICAR,)))
    small = origin.serve("/keep/small", Reply(steps=(b"small",)))
    chunked = origin.serve("/keep/chunked", Reply(steps=drip(clean, 3, 0.01), framing=Framing.CHUNKED))
    close = origin.serve("/keep/close", Reply(steps=drip(clean, 3, 0.01), framing=Framing.CLOSE))
    with connect(proxy) as sock:
        got = [take(sock, ask(url, absolute=True)) for url in (slow, bad, small, bad, chunked, close, bad)]
    assert [(t.status, t.ended) for t in got] == [(s, "whole") for s in (200, 403, 200, 403, 200, 200, 403)]
    assert [bytes(got[i].body) for i in (0, 2, 4, 5)] == [clean, b"small", clean, clean]


def test_other_streams_are_not_disturbed(proxy: Proxy, h2_origin: Origin, client_ca: str, engine: SlowEngine) -> None:
    """Of several streams of one connection, one is cut, one refused, and the others arrive whole."""
    engine.delay = 3 * INTERVAL
    clean = [samples.clean(f"stream {n}", 30_000) for n in range(2)]
    urls = [h2_origin.serve(f"/stream{n}", Reply(steps=drip(clean[n], 4, 0.1))) for n in range(2)]
    cut = h2_origin.serve("/stream-cut", Reply(steps=(samples.infected("stream cut", 30_000),)))
    refused = h2_origin.serve("/stream-refused", Reply(steps=(samples.EICAR,)))
    with H2Client(proxy, cut, client_ca) as client:
        first, bad, tiny, second = (client.get(url) for url in (urls[0], cut, refused, urls[1]))
        client.read_all()
        again = client.get(urls[0])
        client.read_all()
    assert [(t.status, t.ended) for t in (first, second, again)] == [(200, "whole")] * 3
    assert [bytes(t.body) for t in (first, second)] == clean
    assert (tiny.status, tiny.ended) == (403, "whole")
    assert bad.status == 200
    assert bad.ended.startswith("reset")


def test_a_slow_check_does_not_delay_another_stream(
    proxy: Proxy, h2_origin: Origin, client_ca: str, engine: SlowEngine
) -> None:
    """A stream without a body to check is answered while its neighbour's check runs."""
    engine.delay = 1.5
    slow = h2_origin.serve("/neighbour-slow", Reply(steps=(samples.clean("neighbour", 500),)))
    empty = h2_origin.serve("/neighbour-empty", Reply(status=204, framing=Framing.NONE))
    with H2Client(proxy, slow, client_ca) as client:
        checked_stream, quick = client.get(slow), client.get(empty)
        client.read_all()
    assert (quick.status, checked_stream.status) == (204, 200)
    assert checked_stream.head_at - quick.head_at > 0.5


@some_ways
def test_an_origin_that_cuts_before_any_byte_left_is_a_502(traveller: Traveller, proxy: Proxy) -> None:
    """Nothing was sent yet, so the client gets a proper error."""
    if traveller.way.framing is Framing.CLOSE:
        pytest.skip("a close is this origin's proper end")
    url = traveller.serve("/cut-early", b"beginning", Break.CUT, b"end")
    taken = traveller.fetch(proxy, url)
    assert taken.status == 502
    assert b"beginning" not in taken.body
    assert proxy.record_of(url)["reason"] == "upstream"


def test_an_origin_that_stalls_for_good_is_given_up(gateway: Gateway, origin: Origin, engine: SlowEngine) -> None:
    """After `limits.stall` without a byte the transfer fails, and the spool is given back."""
    stalling = checked(clamav(engine.port), TRICKLE, gateway="limits: {stall: 1s}\n")
    proxy = gateway(stalling)
    data = samples.clean("stall for good", 6000)
    small = origin.serve("/stall-small", Reply(steps=(b"x", Break.STALL, b"y")))
    large = origin.serve("/stall-large", Reply(steps=(data, Break.STALL, b"y")))
    got = curl(proxy, small)
    assert got.status in (502, 504)
    assert curl(proxy, large).exit in CUT
    assert {proxy.record_of(url)["reason"] for url in (small, large)} == {"upstream"}
    assert proxy.spool_files() == []
