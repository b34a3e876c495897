"""Range requests never fetch pieces past the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply, ranged
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

Gateway = Callable[[str], Proxy]

DATA = samples.clean("ranges", 50_000)


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine."""
    return gateway(checked(builtin()))


RANGES = {"0-99": DATA[:100], "100-199": DATA[100:200], "49990-": DATA[49990:], "-10": DATA[-10:]}


@pytest.mark.parametrize("wanted", RANGES)
def test_a_piece_of_a_clean_object_is_cut_from_the_whole(proxy: Proxy, origin: Origin, wanted: str) -> None:
    """The origin is asked for the whole object, and the client gets its 206 with exactly the piece."""
    path = f"/range/{wanted}"
    url = origin.serve(path, ranged(DATA))
    got = curl(proxy, url, "-r", wanted, "-H", 'If-Range: "v1"')
    assert (got.exit, got.status, got.body) == (0, 206, RANGES[wanted])
    start = DATA.index(RANGES[wanted])
    end = start + len(RANGES[wanted]) - 1
    assert got.headers["content-range"] == f"bytes {start}-{end}/{len(DATA)}"
    (exchange,) = origin.asked(path)
    assert exchange.request.header("Range") is None
    assert exchange.request.header("If-Range") is None
    assert proxy.record_of(url)["size"] == len(DATA)


@pytest.mark.parametrize("wanted", ["0-33", "34-67", "0-0", "-1", "100000-", "0-1,3-4"])
def test_no_piece_of_an_infected_object_leaves(proxy: Proxy, origin: Origin, wanted: str) -> None:
    """Whatever piece is asked for, the whole object is judged."""
    url = origin.serve(f"/range-bad/{wanted.replace(',', '_')}", ranged(samples.EICAR))
    got = curl(proxy, url, "-r", wanted)
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")


def test_a_range_that_cannot_be_served_is_not_a_wrong_piece(proxy: Proxy, origin: Origin) -> None:
    """Past the end, several ranges or nonsense get the whole object, a 416 or a proper multipart."""
    url = origin.serve("/range-odd", ranged(DATA))
    for odd in ("bytes=60000-", "bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=x"):
        got = curl(proxy, url, "-H", f"Range: {odd}")
        assert (got.status, got.body == DATA) == (200, True) or got.status in (206, 416), odd
        assert got.status != 206 or b"byteranges" in got.headers["content-type"].encode()


def test_a_206_that_nobody_asked_for_is_refused(proxy: Proxy, origin: Origin) -> None:
    """An origin that serves pieces by itself cannot split a signature."""
    headers = [("Content-Range", "bytes 0-33/68")]
    half = Reply(status=206, reason="Partial Content", headers=headers, steps=(samples.EICAR[:34],))
    got = curl(proxy, origin.serve("/unasked-206", half))
    assert got.status in (403, 502)
    assert samples.EICAR[:34] not in got.body


def test_an_origin_that_ignores_the_removal_is_refused(proxy: Proxy, origin: Origin) -> None:
    """A 206 to a request whose Range was taken off is no answer to it."""
    headers = [("Content-Range", "bytes 34-67/68")]
    half = Reply(status=206, reason="Partial Content", headers=headers, steps=(samples.EICAR[34:],))
    got = curl(proxy, origin.serve("/stubborn-206", half), "-r", "34-67")
    assert samples.EICAR[34:] not in got.body
    assert got.status in (403, 502)


def test_a_piece_of_an_object_too_large_to_check(gateway: Gateway, origin: Origin) -> None:
    """Known to be over the limit it is `skipped`: refused, or where that is accepted fetched as a piece."""
    path, limited = "/range-large", builtin(max_checked_size="10000")
    url = origin.serve(path, ranged(DATA))
    strict = gateway(checked(limited))
    assert curl(strict, url, "-r", "100-199").headers["x-sluice-status"] == "skipped"
    lax = gateway(checked(limited, "accept-antivirus-status: [skipped]\n"))
    got = curl(lax, url, "-r", "100-199")
    # The piece alone is better; the whole object is allowed (RFC 9110 14.2).
    assert (got.status, got.body) in ((206, DATA[100:200]), (200, DATA))
