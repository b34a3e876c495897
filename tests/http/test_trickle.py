"""While a check runs, bytes leave by the clock: on every way, never too early, too many or the last ones."""

from __future__ import annotations

import math

import pytest

from tests.fakes.origin_script import Break, Wait, drip
from tests.http import samples
from tests.http.curl import CUT, curl
from tests.http.policies import CHUNK, INTERVAL, LIMIT, TRICKLE, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine
from tests.http.ways import Gateway, Taken, Traveller

LATE = 0.3  # what a busy machine may add to a tick, seconds
SIZE = 16000
DELAY = 0.5


@pytest.fixture
def proxy(gateway: Gateway, engine: SlowEngine) -> Proxy:
    """A gateway that trickles while the slow engine thinks."""
    return gateway(trickling(engine))


def trickling(engine: SlowEngine) -> str:
    """The policy of these tests."""
    return checked(clamav(engine.port), TRICKLE)


def assert_by_the_clock(taken: Taken, sent: list[tuple[float, int]], verdict_at: float) -> None:
    """Every byte that came before the verdict came when the clock let it, and no sooner.

    The origin's times are taken before its writes, so they are never later than the arrival at the gateway:
    the bounds are strict, whatever the load of the machine."""
    start = sent[0][0]
    for at, size in taken.arrivals:
        if at < verdict_at:
            received = max(total for when, total in sent if when <= at)
            ticks = math.floor((at - start) / INTERVAL)
            assert size <= min(CHUNK * ticks, LIMIT, received - CHUNK), (at - start, size)


def test_a_slow_clean_body_trickles_and_arrives_whole(traveller: Traveller, proxy: Proxy, engine: SlowEngine) -> None:
    """The first byte comes one interval after the origin's first, then at most a chunk each interval, and at
    the end the body is the origin's."""
    engine.delay = DELAY
    data = samples.clean(traveller.way.name, SIZE)
    url = traveller.serve("/slow", *drip(data, 5, 0.15))
    taken = traveller.fetch(proxy, url)
    assert (taken.status, taken.body == data) == (200, True)
    # mitmproxy sends no close_notify, so that a close is not a proper end under TLS; a cut is a reset there.
    assert taken.ended == ("cut" if traveller.way.ends_by_close and traveller.way.tls else "whole")
    sent = traveller.sent_at(url)
    first = taken.arrivals[0][0] - sent[0][0]
    assert INTERVAL <= first <= INTERVAL + LATE
    assert_by_the_clock(taken, sent, sent[-1][0] + DELAY)
    record = proxy.record_of(url)
    assert (record["status"], record["action"]) == ("free", "accept")
    # Between the first tick and the verdict lie at least 4 more, however late each of them was.
    assert CHUNK <= record["released"] <= LIMIT


def test_an_infected_body_is_cut_after_a_trickle(traveller: Traveller, proxy: Proxy, engine: SlowEngine) -> None:
    """What left is a beginning without the last chunk, its end is a failure, and the record counts it."""
    engine.delay = DELAY
    data = samples.infected(traveller.way.name, SIZE)
    url = traveller.serve("/infected", *drip(data, 3, 0.15))
    taken = traveller.fetch(proxy, url)
    assert taken.status == 200
    assert taken.ended == "reset" if traveller.way.ends_by_close else taken.ended != "whole"
    assert data.startswith(bytes(taken.body))
    assert 0 < len(taken.body) <= min(LIMIT, SIZE - CHUNK)
    assert_by_the_clock(taken, traveller.sent_at(url), math.inf)
    record = proxy.record_of(url)
    assert (record["status"], record["action"], record["reason"]) == ("found", "cut", "virus-found")
    assert record["released"] == len(taken.body)


def test_curl_calls_a_cut_body_a_failure(
    traveller: Traveller, proxy: Proxy, engine: SlowEngine, client_ca: str
) -> None:
    """After a trickle of an infected body curl ends with 18, 56 or 92 and never with 0."""
    engine.delay = DELAY
    data = samples.infected(f"curl {traveller.way.name}", SIZE)
    url = traveller.serve("/curl", data)
    got = curl(proxy, url, "--cacert", client_ca, *traveller.way.curl_args)
    assert got.exit in CUT, got
    assert 0 < len(got.body) <= min(LIMIT, SIZE - CHUNK)


def test_an_infected_body_without_a_trickle_is_a_proper_refusal(
    traveller: Traveller, gateway: Gateway, engine: SlowEngine
) -> None:
    """Where the verdict comes before the first tick, every way gets a whole 403 page."""
    patient = TRICKLE.replace(f"interval: {int(INTERVAL * 1000)}ms", "interval: 9s")
    proxy = gateway(checked(clamav(engine.port), patient))
    url = traveller.serve("/at-once", samples.infected(f"at once {traveller.way.name}", SIZE))
    taken = traveller.fetch(proxy, url)
    assert (taken.status, taken.ended, taken.headers["x-sluice-status"]) == (403, "whole", "found")
    assert proxy.record_of(url)["released"] == 0


def test_an_origin_that_cuts_after_a_trickle_fails_at_the_client(traveller: Traveller, proxy: Proxy) -> None:
    """A body that the origin leaves unfinished never looks finished, and its end is never asked about."""
    if traveller.way.framing.value == "close":
        pytest.skip("a close is this origin's proper end")
    data = samples.clean(f"cut {traveller.way.name}", SIZE)
    url = traveller.serve("/origin-cut", data, Wait(2.5 * INTERVAL), Break.CUT, data)
    taken = traveller.fetch(proxy, url)
    assert taken.status == 200
    assert taken.ended != "whole"
    assert 0 < len(taken.body) <= min(LIMIT, SIZE - CHUNK)
    record = proxy.record_of(url)
    assert (record["action"], record["reason"]) == ("cut", "upstream")
