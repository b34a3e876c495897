"""Range requests never fetch pieces past the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Break, Fill, Framing, Reply, Request, ranged
from tests.http import samples
from tests.http.curl import CUT, curl
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire import ask, connect, take

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


def test_no_piece_of_an_object_too_large_to_check(gateway: Gateway, origin: Origin) -> None:
    """Known to be over the limit it is `skipped`, and refused where that is not accepted; nothing more is asked for."""
    url = origin.serve("/range-strict", ranged(DATA))
    got = curl(gateway(checked(LIMITED)), url, "-r", "100-199")
    assert (got.status, got.headers["x-sluice-status"]) == (403, "skipped")
    assert [e.request.header("Range") for e in origin.asked("/range-strict")] == [None]


LIMITED = builtin(max_checked_size="10000")


@pytest.fixture
def lax(gateway: Gateway) -> Proxy:
    """A gateway that accepts what is too large to check."""
    return gateway(checked(LIMITED, "accept-antivirus-status: [skipped]\n"))


@pytest.mark.parametrize("server", ["origin", "tls_origin", "h2_origin"])
def test_a_piece_of_what_is_too_large_is_fetched_alone(
    lax: Proxy, request: pytest.FixtureRequest, client_ca: str, server: str
) -> None:
    """Where `skipped` is accepted the origin is asked again, for that piece of that version; the whole is not read."""
    origin: Origin = request.getfixturevalue(server)
    path = "/range-fetched"
    serve = ranged(DATA)

    def endless(asked: Request) -> Reply:
        """The whole never ends: who waits for it gets nothing."""
        reply = serve(asked)
        return reply if reply.status == 206 else replace(reply, steps=(DATA[:9000], Break.STALL, DATA[9000:]))

    url = origin.serve(path, endless)
    got = curl(lax, url, "-r", "30000-39999", "--cacert", client_ca)
    assert (got.exit, got.status, got.body == DATA[30000:40000]) == (0, 206, True), got.text
    assert got.headers["content-range"] == "bytes 30000-39999/50000"
    asked = [(e.request.header("Range"), e.request.header("If-Range")) for e in origin.asked(path)]
    assert asked == [(None, None), ("bytes=30000-39999", '"v1"')]
    records = lax.wait_until(lambda: r if len(r := lax.records_of(url)) > 1 else None, "a record of the piece")
    told = [(r["status"], r["action"], r["size"]) for r in records]
    assert told == [("skipped", "accept", len(DATA)), ("skipped", "accept", 10_000)]
    assert records[0]["id"] != records[1]["id"]


def sockets(proxy: Proxy) -> int:
    """How many sockets it has open."""
    return sum(target.startswith("socket:") for target in proxy.open_files())


@pytest.mark.parametrize("attempt", range(6))
def test_a_piece_of_what_comes_fast(lax: Proxy, origin: Origin, attempt: int) -> None:
    """The first answer is let go of whatever of it is on its way at that moment."""
    size, start = 12_000_000, 9_000_000
    headers = [("ETag", '"v1"'), ("Content-Range", f"bytes {start}-{start + 99}/{size}")]

    def answer(asked: Request) -> Reply:
        if asked.header("Range"):
            return Reply(status=206, steps=(PIECE,), headers=headers)
        return Reply(steps=(Fill(size),), headers=headers[:1])

    before = sockets(lax)
    url = origin.serve(f"/range-fast/{attempt}", answer)
    got = curl(lax, url, "-r", f"{start}-{start + 99}", "--max-time", "5")
    assert (got.exit, got.status, got.body) == (0, 206, PIECE)
    lax.wait_until(lambda: sockets(lax) <= before, "the end of both connections to the origin")


def test_pieces_on_one_connection(lax: Proxy, origin: Origin) -> None:
    """A player's connection goes on from piece to piece, and from pieces to other objects."""
    url = origin.serve("/range-player", ranged(DATA))
    small = origin.serve("/range-small", Reply(steps=(b"small",)))
    with connect(lax) as sock:
        for start, stop in ((40_000, 40_010), (10, 20), (0, 50_000), (49_999, 50_000)):
            taken = take(sock, ask(url, absolute=True, headers=[f"Range: bytes={start}-{stop - 1}"]))
            assert (taken.status, bytes(taken.body) == DATA[start:stop]) == (206, True)
        assert bytes(take(sock, ask(small, absolute=True)).body) == b"small"
    # The third, all of it, was cut from the first answer.
    assert [e.request.header("Range") is None for e in origin.asked("/range-player")].count(True) == 4
    assert len(origin.asked("/range-player")) == 7


def test_a_piece_behind_the_end_of_what_is_too_large(lax: Proxy, origin: Origin) -> None:
    """The origin's own 416 tells how long the object is."""

    def answer(asked: Request) -> Reply:
        if asked.header("Range") != "bytes=50000-":
            return ranged(DATA)(asked)
        return Reply(status=416, reason="No", headers=[("Content-Range", "bytes */50000")])

    got = curl(lax, origin.serve("/range-behind", answer), "-r", "50000-")
    assert (got.status, got.headers["content-range"]) == (416, "bytes */50000")


PIECE = DATA[100:200]
SPAN = ("Content-Range", "bytes 100-199/50000")
TAG = ("ETag", '"v1"')
WRONG = {
    "another piece": Reply(status=206, steps=(PIECE,), headers=[("Content-Range", "bytes 0-99/50000"), TAG]),
    "of a small object": Reply(status=206, steps=(PIECE,), headers=[("Content-Range", "bytes 100-199/200"), TAG]),
    "another length": Reply(status=206, steps=(PIECE + b"x",), headers=[SPAN, TAG]),
    "no length": Reply(status=206, steps=(PIECE,), headers=[SPAN, TAG], framing=Framing.CHUNKED),
    "two spans": Reply(status=206, steps=(PIECE,), headers=[SPAN, SPAN, TAG]),
    "another version": Reply(status=206, steps=(PIECE,), headers=[SPAN, ("ETag", '"v2"')]),
    "coded": Reply(status=206, steps=(PIECE,), headers=[SPAN, TAG, ("Content-Encoding", "gzip")]),
    "an infected object": Reply(steps=(samples.EICAR,), headers=[("ETag", '"v2"')]),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_answer_than_the_piece_is_checked_like_any(lax: Proxy, origin: Origin, name: str) -> None:
    """Only the very piece of the very version passes as a part of what is too large; the rest is judged anew."""
    path = f"/range-wrong/{name.replace(' ', '-')}"
    url = origin.serve(path, lambda asked: WRONG[name] if asked.header("Range") else ranged(DATA)(asked))
    got = curl(lax, url, "-r", "100-199")
    assert got.status == 403
    assert got.headers["x-sluice-status"] == ("found" if name == "an infected object" else "unknown")
    assert len(origin.asked(path)) == 2


def test_an_origin_without_pieces_gives_the_whole(lax: Proxy, origin: Origin) -> None:
    """Where Range is ignored the client gets the whole as a 200, as it would without us."""
    url = origin.serve("/range-ignored", Reply(steps=(DATA,)))
    got = curl(lax, url, "-r", "100-199")
    assert (got.exit, got.status, got.body == DATA) == (0, 200, True)


@pytest.mark.parametrize("how", [Break.CUT, Break.RESET])
def test_an_origin_that_fails_at_the_piece(lax: Proxy, origin: Origin, how: Break) -> None:
    """A piece that is not delivered in full does not look whole."""

    def answer(asked: Request) -> Reply:
        reply = ranged(DATA)(asked)
        return replace(reply, steps=(PIECE[:50], how, PIECE[50:])) if asked.header("Range") else reply

    got = curl(lax, origin.serve(f"/range-fails-{how}", answer), "-r", "100-199")
    assert got.exit in CUT
    assert PIECE[:50].startswith(got.body)
