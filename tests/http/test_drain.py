"""SIGTERM with transfers under way: each ends identical or visibly cut, and each leaves its record."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Break, Framing, Reply, Step, drip
from tests.http import samples
from tests.http.curl import CUT, Curled, curl
from tests.http.policies import TRICKLE, builtin, checked
from tests.http.proxy import Proxy
from tests.http.test_client_gone import wait_until
from tests.http.wire import ask, connect, read_reply, take

OwnGateway = Callable[..., Proxy]

SIZE = 400_000
FAILED = (*CUT, 52)  # 52: closed before the first byte of the reply
UNCHECKED = "- {name: UNCHECKED, when: {url: '*unchecked*'}}\n"
POLICY = checked(builtin(), TRICKLE, before=UNCHECKED)


@dataclass(frozen=True, slots=True)
class Road:
    """One transfer: which origin, how framed, what curl is told."""

    name: str
    origin: str
    framing: Framing
    args: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """What the origin means to send."""
        return samples.clean(self.name, SIZE)


ROADS = [
    Road(f"{check}-{name}", origin, framing, args)
    for check in ("checked", "unchecked")
    for name, origin, framing, args in (
        ("length", "origin", Framing.LENGTH, ()),
        ("chunked", "origin", Framing.CHUNKED, ()),
        ("close-10", "origin", Framing.CLOSE, ("--http1.0",)),
        ("h2-length", "h2_origin", Framing.LENGTH, ("--http2",)),
        ("h2", "h2_origin", Framing.CHUNKED, ("--http2",)),
    )
]


class Run:
    """Ten downloads under way through one gateway."""

    def __init__(self, request: pytest.FixtureRequest, own_gateway: OwnGateway, client_ca: str) -> None:
        self._request, self._own, self._ca = request, own_gateway, client_ca
        self.urls: dict[str, str] = {}

    def start(self, kind: str, rest: tuple[Step, ...], *options: str) -> None:
        """Serve half of each body and then `rest` in place of the other half's tail; all have begun afterwards."""
        self.proxy = self._own(POLICY, *options)
        self._pool = ThreadPoolExecutor(len(ROADS))
        for road in ROADS:
            origin: Origin = self._request.getfixturevalue(road.origin)
            steps = (road.body[: SIZE // 2], *rest, *drip(road.body[SIZE // 2 :], 4, 0.3))
            reply = Reply(steps=steps, framing=road.framing)
            self.urls[road.name] = origin.serve(f"/drain/{kind}/{road.name}", reply)
        self._curls = {road.name: self._pool.submit(self._fetch, road) for road in ROADS}
        assert wait_until(self._all_begun, 10)

    def _fetch(self, road: Road) -> Curled:
        return curl(self.proxy, self.urls[road.name], "--cacert", self._ca, "--no-buffer", *road.args)

    def _all_begun(self) -> bool:
        exchanges = [
            self._request.getfixturevalue(r.origin).asked("/" + self.urls[r.name].split("/", 3)[3]) for r in ROADS
        ]
        return all(each and each[-1].sent for each in exchanges)

    def end(self) -> dict[str, Curled]:
        """How the clients fared."""
        with self._pool:
            return {name: done.result() for name, done in self._curls.items()}


@pytest.fixture
def run(request: pytest.FixtureRequest, own_gateway: OwnGateway, client_ca: str) -> Iterator[Run]:
    """Not started yet."""
    return Run(request, own_gateway, client_ca)


def test_what_ends_in_time_arrives_whole(run: Run) -> None:
    """Ten transfers that the origin ends within the patience: each is identical, nobody new comes in, exit 0."""
    run.start("whole", ())
    run.proxy.signal(signal.SIGTERM)
    assert wait_until(lambda: refuses(run.proxy), 2)
    got = run.end()
    assert {name: (g.exit, g.status) for name, g in got.items()} == {road.name: (0, 200) for road in ROADS}
    assert all(got[road.name].body == road.body for road in ROADS)
    assert run.proxy.wait(10) == 0
    assert {run.proxy.record_of(url)["action"] for url in run.urls.values()} == {"accept"}
    assert run.proxy.crashes() == []


def test_what_does_not_end_is_cut(run: Run) -> None:
    """Ten transfers that never end: after the patience each client sees a failure, each leaves a record, exit 0."""
    run.start("cut", (Break.STALL,), "av_drain=1s")
    began = time.monotonic()
    run.proxy.signal(signal.SIGTERM)
    got = run.end()
    assert all(one.exit in FAILED for one in got.values()), {n: (g.exit, g.status, g.error) for n, g in got.items()}
    for road in ROADS:
        assert len(got[road.name].body) < SIZE
    assert run.proxy.wait(10) == 0
    assert 1 <= time.monotonic() - began < 5
    for road in ROADS:
        record = run.proxy.record_of(run.urls[road.name])
        assert record["action"] == ("cut" if road.name.startswith("checked") else "accept"), record
    assert run.proxy.crashes() == []


def test_a_second_signal_means_now(run: Run) -> None:
    """SIGINT, and SIGTERM behind it: nobody waits any longer, and nobody takes it for the end of a body."""
    run.start("now", (Break.STALL,))
    run.proxy.signal(signal.SIGINT)
    run.proxy.wait_for_line("no new connections")
    run.proxy.signal(signal.SIGTERM)
    got = run.end()
    assert all(one.exit in FAILED for one in got.values()), {n: (g.exit, g.status, g.error) for n, g in got.items()}
    assert run.proxy.wait(5) == 0


def test_whoever_is_idle_does_not_hold_it_up(own_gateway: OwnGateway, origin: Origin) -> None:
    """Kept connections and half a request's headers are closed at once."""
    proxy = own_gateway(POLICY)
    url = origin.serve("/drain/idle", Reply(steps=(b"idle",)))
    with connect(proxy) as kept, connect(proxy) as half:
        assert take(kept, ask(url, absolute=True)).body == b"idle"
        half.sendall(b"GET http:")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait(5) == 0
        assert kept.recv(1) == b""
    assert proxy.crashes() == []


def test_an_upload_in_its_check_may_finish(own_gateway: OwnGateway, origin: Origin) -> None:
    """A client that is still sending when the signal comes gets its answer, and the origin the upload."""
    proxy, data = own_gateway(POLICY), samples.clean("drained upload", 200_000)
    url = origin.serve("/drain/upload", Reply(steps=(b"taken",)))
    lines = (f"Host: 127.0.0.1:{origin.port}", f"Content-Length: {len(data)}", "Expect: 100-continue", "", "")
    head = "\r\n".join((f"POST {url} HTTP/1.1", *lines)).encode()
    with connect(proxy) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # it is under way
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_line("no new connections")
        assert wait_until(lambda: refuses(proxy), 2)
        client.sendall(data)
        assert read_reply(client, "POST").body == b"taken"
    assert origin.asked("/drain/upload")[0].request.body == data
    assert proxy.wait(5) == 0


def refuses(proxy: Proxy) -> bool:
    """True once nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", proxy.port), 1).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # amid its closing
        return False
    return False
